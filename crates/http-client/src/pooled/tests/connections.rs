//! Which connection a request uses, and which connections are refused.

use tokio::{net::TcpListener, time::advance};

use super::{
    super::{
        super::{
            TrustedRoots,
            test_site::{TestResponse, TestSite},
        },
        PoolConfig, PooledClient,
    },
    *,
};

fn client(trust: TrustedRoots) -> PooledClient {
    PooledClient::new(&PoolConfig::new(trust)).unwrap()
}

async fn get(client: &PooledClient, url: &str) -> Result<(u16, Bytes), RequestError> {
    let response = client.send(Request::get(url).body(Empty::new()).unwrap()).await?;
    let status = response.status().as_u16();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

async fn secure_site(reply: TestResponse) -> (TestSite, PooledClient, String) {
    let site = TestSite::start().await;
    site.set_response("/key", reply);
    let (client, url) = (client(site.trust()), site.url("/key").to_string());
    (site, client, url)
}

#[tokio::test]
async fn many_requests_use_one_connection() {
    let (site, client, url) = secure_site(TestResponse::ok("content").keep_alive()).await;
    for _ in 0..10 {
        assert_eq!(get(&client, &url).await.unwrap(), (200, "content".into()));
        let put = Request::put(&url).body(http_body_util::Full::new(Bytes::from(vec![0; 100_000]))).unwrap();
        client.send(put).await.unwrap().into_body().collect().await.unwrap();
    }
    assert_eq!((site.request_count("/key"), site.connection_count()), (20, 1));
}

#[tokio::test]
async fn requests_at_the_same_time_have_connections_of_their_own() {
    let (site, client, url) = secure_site(TestResponse::ok("content").keep_alive()).await;
    let request = || Request::get(&url).body(Empty::<Bytes>::new()).unwrap();
    let (one, other) = (client.send(request()).await.unwrap(), client.send(request()).await.unwrap());
    assert_eq!(site.connection_count(), 2);
    for response in [one, other] {
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "content");
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced_without_an_error() {
    let (site, client, url) = secure_site(TestResponse::ok("content").close_unannounced()).await;
    let origin = url.parse().unwrap();
    for round in 1..=3 {
        assert_eq!(get(&client, &url).await.unwrap(), (200, "content".into()));
        assert_eq!(site.connection_count(), round);
        while client.idle.open_count(&origin) > 0 {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_request_that_meets_a_closing_connection_before_it_is_sent_comes_back_unsent() {
    let Pipe { mut connection, server, .. } = Pipe::new().await;
    assert!(connection.is_ready().await);
    drop(server);
    let request = Request::put("/key").body(RequestBody::new(Pieces::new(1).0)).unwrap();
    let failed = connection.send(request).await.err().unwrap();
    assert!(failed.unsent.is_some());
    assert_eq!(failed.error.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn plain_http_is_refused_unless_the_origin_is_configured() {
    let (site, other) = (TestSite::start_plaintext().await, TestSite::start_plaintext().await);
    site.set_response("/key", TestResponse::ok("content"));
    site.set_response("/moved", TestResponse::status(302).header(&format!("Location: {}/", other.plaintext_origin())));
    let config = PoolConfig::new(TrustedRoots::Public);
    let allowing = PoolConfig { plaintext_origins: vec![site.plaintext_origin()], ..config };
    let allowing = PooledClient::new(&allowing).unwrap();
    let url = |site: &TestSite, path: &str| format!("{}{path}", site.plaintext_origin());
    assert_eq!(get(&allowing, &url(&site, "/key")).await.unwrap(), (200, "content".into()));
    assert_eq!(get(&allowing, &url(&site, "/moved")).await.unwrap().0, 302);
    let strict = client(TrustedRoots::Public);
    for (client, site) in [(&strict, &site), (&allowing, &other)] {
        let refused = get(client, &url(site, "/key")).await.unwrap_err();
        assert!(matches!(refused, RequestError::PlaintextRefused(_)), "{refused:?}");
        assert_eq!(refused.delivery(), Delivery::NotSent);
    }
    assert_eq!((site.connection_count(), other.connection_count()), (2, 0));
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_trusted_gets_no_request() {
    let (site, _, url) = secure_site(TestResponse::ok("content")).await;
    for trust in [TestSite::start().await.trust(), TrustedRoots::Public] {
        let refused = get(&client(trust), &url).await.unwrap_err();
        assert!(matches!(refused, RequestError::Tls(_)), "{refused:?}");
        assert_eq!(refused.delivery(), Delivery::NotSent);
    }
    assert_eq!(site.request_count("/key"), 0);
}

#[tokio::test]
async fn a_port_without_a_server_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    drop(listener);
    let refused = get(&client(TrustedRoots::Public), &url).await.unwrap_err();
    assert!(matches!(refused, RequestError::Unreachable(_)), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_finish_the_tls_handshake_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let failure = get(&client(TrustedRoots::Public), &url).await.unwrap_err();
    assert!(matches!(failure, RequestError::ConnectTimedOut(_)), "{failure:?}");
    assert_eq!(failure.delivery(), Delivery::NotSent);
}

#[tokio::test]
async fn a_url_without_a_host_is_refused() {
    for url in ["/key", "ftp://store.test/key", "https://user:word@store.test/key"] {
        let refused = get(&client(TrustedRoots::Public), url).await.unwrap_err();
        assert!(matches!(refused, RequestError::InvalidRequest), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn unused_connections_are_limited_in_number_and_in_time() {
    let pool = IdlePool::new(2, Duration::from_secs(15));
    let mut servers = Vec::new();
    for _ in 0..3 {
        let Pipe { connection, server, .. } = Pipe::new().await;
        pool.put(origin(), connection);
        servers.push(server);
    }
    assert_eq!(pool.len(&origin()), 2);
    assert_eq!(servers[0].read(&mut [0]).await.unwrap(), 0, "the oldest must close");
    advance(Duration::from_secs(14)).await;
    assert!(pool.take_ready(&origin()).await.is_some());
    advance(Duration::from_secs(2)).await;
    assert!(pool.take_ready(&origin()).await.is_none());
    assert_eq!(servers[1].read(&mut [0]).await.unwrap(), 0);
}
