//! Requests through a proxy.

use http_body_util::Full;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

use super::{
    super::{
        super::{
            TrustedRoots,
            test_site::{TestResponse, TestSite},
        },
        PoolConfig, PooledClient, Proxies,
    },
    *,
};

/// A proxy that records the head of each request, opens every tunnel to `site`, and answers other requests itself.
struct TestProxy {
    address: std::net::SocketAddr,
    heads: Arc<parking_lot::Mutex<Vec<String>>>,
    _serving: AbortOnDropHandle<()>,
}

impl TestProxy {
    async fn start(answer: &'static str, site: Option<std::net::SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<parking_lot::Mutex<Vec<String>>>::default();
        let recorded = heads.clone();
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let recorded = recorded.clone();
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        head.push(stream.read_u8().await.unwrap());
                    }
                    recorded.lock().push(String::from_utf8(head).unwrap());
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if let Some(site) = site {
                        let mut site = TcpStream::connect(site).await.unwrap();
                        let _ = tokio::io::copy_bidirectional(&mut stream, &mut site).await;
                    }
                });
            }
        });
        Self { address, heads, _serving: AbortOnDropHandle::new(serving) }
    }

    fn client(&self, config: &PoolConfig) -> PooledClient {
        let address = self.address;
        let proxies = Proxies::from_env(|name| {
            name.ends_with("_PROXY").then(|| format!("http://user:word@{address}")).filter(|_| name != "NO_PROXY")
        });
        PooledClient::new(&PoolConfig { proxies: proxies.unwrap(), ..config.clone() }).unwrap()
    }
}

async fn get(client: &PooledClient, url: &str) -> Result<Bytes, RequestError> {
    let response = client.send(Request::get(url).body(Full::<Bytes>::default()).unwrap()).await?;
    Ok(response.into_body().collect().await?.to_bytes())
}

#[tokio::test]
async fn https_goes_through_a_tunnel_that_is_used_again() {
    let site = TestSite::start().await;
    site.set_response("/key", TestResponse::ok("content").keep_alive());
    let proxy = TestProxy::start("HTTP/1.1 200 OK\r\n\r\n", Some(site.address())).await;
    let client = proxy.client(&PoolConfig::new(site.trust()));
    for _ in 0..3 {
        assert_eq!(get(&client, "https://store.test/key").await.unwrap(), "content");
    }
    let heads = proxy.heads.lock();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].starts_with("CONNECT store.test:443 HTTP/1.1\r\nHost: store.test:443\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("Proxy-Authorization: Basic dXNlcjp3b3Jk\r\n"), "{}", heads[0]);
}

#[tokio::test]
async fn plain_http_is_forwarded_with_the_whole_url_as_target() {
    let proxy = TestProxy::start("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncontent", None).await;
    let config = PoolConfig { plaintext_origins: vec![origin()], ..PoolConfig::new(TrustedRoots::Public) };
    assert_eq!(get(&proxy.client(&config), "http://store.test/key?a=b").await.unwrap(), "content");
    let heads = proxy.heads.lock();
    assert!(heads[0].starts_with("GET http://store.test/key?a=b HTTP/1.1\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("host: store.test\r\n"), "{}", heads[0]);
    assert!(heads[0].contains("proxy-authorization: Basic dXNlcjp3b3Jk\r\n"), "{}", heads[0]);
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_down_is_named_without_its_password() {
    let mut proxy = TestProxy::start("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", None).await;
    let config = PoolConfig::new(TrustedRoots::Public);
    let refused = get(&proxy.client(&config), "https://store.test/key").await.unwrap_err();
    assert!(refused.to_string().contains("answered 407"), "{refused}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.address = listener.local_addr().unwrap();
    drop(listener);
    let down = get(&proxy.client(&config), "https://store.test/key").await.unwrap_err();
    for failure in [refused, down] {
        assert!(matches!(failure, RequestError::Proxy { .. }), "{failure:?}");
        assert_eq!(failure.delivery(), Delivery::NotSent);
        let shown = format!("{failure} {failure:?}");
        assert!(shown.contains("http://127.0.0.1:") && !shown.contains("word"), "{shown}");
    }
}
