//! Opens a tunnel to a server through a proxy with the method CONNECT (RFC 9110, section 9.3.6).

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Origin, RequestError, proxy::Proxy};

/// The largest head of a proxy's response, in bytes.
const MAX_PROXY_RESPONSE_LEN: usize = 8 << 10;

/// Asks `proxy`, to which `stream` is connected, for a tunnel to `target`. What is written to the stream afterwards
/// arrives at the target.
pub(super) async fn open_tunnel<S>(stream: &mut S, proxy: &Proxy, target: &Origin) -> Result<(), RequestError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let failed = |reason: String| RequestError::Proxy { proxy: proxy.origin.clone(), reason };
    stream.write_all(&connect_request(proxy, target)).await.map_err(|error| failed(error.to_string()))?;
    let head = read_head(stream).await.map_err(|error| failed(error.to_string()))?;
    let head = String::from_utf8_lossy(&head);
    let mut words = head.split_whitespace();
    let is_http = words.next().is_some_and(|version| version.starts_with("HTTP/1."));
    match words.next().and_then(|status| status.parse::<u16>().ok()).filter(|_| is_http) {
        Some(200..=299) => Ok(()),
        Some(status) => Err(failed(format!("answered {status} to the request for a tunnel"))),
        None => Err(failed("the response is not valid HTTP".to_owned())),
    }
}

fn connect_request(proxy: &Proxy, target: &Origin) -> Vec<u8> {
    let host = if target.host().contains(':') { format!("[{}]", target.host()) } else { target.host().to_owned() };
    let authority = format!("{host}:{}", target.port());
    let mut head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &proxy.authorization {
        head.extend_from_slice(b"Proxy-Authorization: ");
        head.extend_from_slice(authorization.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Reads single bytes, because those after the head belong to the target.
async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == MAX_PROXY_RESPONSE_LEN {
            return Err(std::io::Error::other("the head of the response is too large"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(head)
}
