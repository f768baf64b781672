//! Parses just enough of a plain HTTP/1 request to answer it with an error or a redirect to HTTPS.
//!
//! Invariant: a plain HTTP request has no effect, and the response names no host that is not one of this server's
//! names: a client can send any `Host` header.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use portcullis_tls::Hostname;

/// Maximum length in bytes of a request's header.
const MAX_HEADER_LEN: usize = 8 * 1024;
/// Maximum time and number of bytes to keep reading after the response (lingering close): closing a socket with unread
/// bytes would reset the connection, and the client would not receive the response.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
const MAX_LINGER_LEN: usize = 256 * 1024;

/// The parts of a request's header that determine the response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlainRequestHead {
    method: String,
    /// Path and query of the request target; begins with `/` and contains visible ASCII only.
    path: String,
    host: Option<String>,
    accepts_html: bool,
}

/// Reads a request's header. Returns `None` if it is not HTTP or too long, or if the client closed the connection.
///
/// The caller sets the deadline.
pub(super) async fn read_head(stream: &mut TcpStream) -> Option<PlainRequestHead> {
    let mut header = Vec::with_capacity(1024);
    while !is_complete(&header) {
        let room = MAX_HEADER_LEN.checked_sub(header.len()).filter(|room| *room > 0)?;
        let read = (&mut *stream).take(room as u64).read_buf(&mut header).await.ok()?;
        if read == 0 {
            return None;
        }
    }
    PlainRequestHead::parse(&header)
}

fn is_complete(header: &[u8]) -> bool {
    header.windows(4).any(|window| window == b"\r\n\r\n") || header.windows(2).any(|window| window == b"\n\n")
}

impl PlainRequestHead {
    fn parse(header: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(header);
        let mut lines = text.lines();
        let mut request = lines.next()?.split(' ');
        let (method, target, version) = (request.next()?, request.next()?, request.next()?);
        if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_uppercase()) || !version.starts_with("HTTP/") {
            return None;
        }
        let mut head =
            Self { method: method.to_owned(), path: origin_form(target).to_owned(), host: None, accepts_html: false };
        for (name, value) in lines.take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("host") {
                head.host = Some(value.trim().to_owned());
            }
            if name.eq_ignore_ascii_case("accept") {
                head.accepts_html |= value.contains("text/html");
            }
        }
        Some(head)
    }

    /// Whether the client is a browser, which can follow a redirect.
    fn is_browser(&self) -> bool {
        self.accepts_html && matches!(self.method.as_str(), "GET" | "HEAD")
    }

    /// Returns the token that an ACME directory requests (HTTP-01; RFC 8555, 8.3).
    pub(super) fn acme_token(&self) -> Option<&str> {
        let token = self.path.strip_prefix("/.well-known/acme-challenge/")?;
        (self.method == "GET").then_some(token)
    }

    fn host_and_port(&self) -> Option<(Hostname, Option<u16>)> {
        let host = self.host.as_deref()?;
        // A host name with a trailing dot is the same name.
        let parse = |name: &str| name.strip_suffix('.').unwrap_or(name).parse().ok();
        let split = host.rsplit_once(':').and_then(|(name, port)| Some((name, port.parse().ok()?)));
        match split {
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => Some((parse(name)?, Some(port))),
            Some(_) | None => Some((parse(host)?, None)),
        }
    }
}

fn origin_form(target: &str) -> &str {
    let visible = target.bytes().all(|byte| byte.is_ascii_graphic());
    if visible && target.starts_with('/') { target } else { "/" }
}

/// Selects the port of the `https` URL in a response.
#[derive(Clone, Copy, Debug)]
pub(super) enum RedirectPort {
    /// The port of the `Host` header if it has one, else this one. For a request on the TLS port: a container engine
    /// may have published that port under another number, which only the client has.
    FromHostHeader(u16),
    /// This port, whatever the `Host` header contains.
    Fixed(u16),
}

/// Returns the URL under which the same resource is served over TLS. The host is the requested one if it is one of
/// `hostnames`, else the first of them.
pub(super) fn https_url(head: &PlainRequestHead, hostnames: &[Hostname], port: RedirectPort) -> String {
    let asked = head.host_and_port().filter(|(host, _)| hostnames.contains(host));
    let number = match (port, &asked) {
        (RedirectPort::FromHostHeader(_), Some((_, Some(asked)))) => *asked,
        (RedirectPort::FromHostHeader(number) | RedirectPort::Fixed(number), _) => number,
    };
    let authority = match (asked, hostnames.first()) {
        (Some((host, _)), _) => host.authority(number),
        (None, Some(first)) => first.authority(number),
        (None, None) => format!("localhost:{number}"),
    };
    format!("https://{authority}{}", head.path)
}

/// Returns the response to plain HTTP on the TLS port: a redirect to `url` for browsers, an error in the registry's
/// JSON format for all other clients.
pub(super) fn https_required_response(head: &PlainRequestHead, url: &str) -> String {
    if head.is_browser() {
        return redirect_response(url);
    }
    let body = serde_json::json!({
        "errors": [{
            "code": "UNSUPPORTED",
            "message": format!("this port serves HTTPS; use {url}"),
            "detail": {
                "url": url,
                "hint": "the client sent plain HTTP; if it is Docker, remove this registry from \"insecure-registries\"",
            },
        }]
    })
    .to_string();
    let length = body.len();
    // Content-Length is set for HEAD too: it is the length of the body that GET would return.
    let body = if head.method == "HEAD" { String::new() } else { body };
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Returns a redirect to `url` that keeps the method and the body (308).
pub(super) fn redirect_response(url: &str) -> String {
    format!("HTTP/1.1 308 Permanent Redirect\r\nLocation: {url}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

/// Returns the response to an ACME HTTP-01 challenge.
pub(super) fn challenge_response(authorization: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{authorization}",
        authorization.len()
    )
}

/// Sends the response and closes the connection after draining its input (lingering close).
pub(super) async fn send_and_close(mut stream: TcpStream, answer: &str) -> io::Result<()> {
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    let mut rest = (&mut stream).take(MAX_LINGER_LEN as u64);
    // The result is irrelevant: the client may send more, close the connection or stay silent.
    let _ = timeout(LINGER_TIMEOUT, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(request: &str, port: RedirectPort) -> String {
        let hostnames = ["registry.test", "::1"].map(|name| name.parse().unwrap());
        https_url(&PlainRequestHead::parse(request.as_bytes()).unwrap(), &hostnames, port)
    }

    #[test]
    fn the_url_keeps_a_host_that_is_ours_and_its_port() {
        let ask = "GET /v2/?n=1 HTTP/1.1\r\nHost: [::1]:5000\r\n\r\n";
        assert_eq!(url(ask, RedirectPort::FromHostHeader(443)), "https://[::1]:5000/v2/?n=1");
        assert_eq!(url(ask, RedirectPort::Fixed(443)), "https://[::1]/v2/?n=1");
        assert_eq!(
            url("GET / HTTP/1.1\r\nhost: REGISTRY.test\r\n\r\n", RedirectPort::FromHostHeader(8443)),
            "https://registry.test:8443/"
        );
    }

    #[test]
    fn a_host_with_a_final_dot_is_ours_too() {
        let hostnames = ["first.test", "registry.test"].map(|name| name.parse().unwrap());
        for (host, authority) in [
            ("registry.test.", "registry.test:8443"),
            ("Registry.test.:5000", "registry.test:5000"),
            ("registry.test..", "first.test:8443"),
            (".", "first.test:8443"),
        ] {
            let head = PlainRequestHead::parse(format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
            assert_eq!(
                https_url(&head, &hostnames, RedirectPort::FromHostHeader(8443)),
                format!("https://{authority}/a"),
                "{host}"
            );
        }
    }

    #[test]
    fn a_host_that_is_not_ours_never_stands_in_the_url() {
        for host in ["evil.example", "evil.example:5000", "registry.test@evil.example", "[::1", "", "::1:x"] {
            let ask = format!("GET /a HTTP/1.1\r\nHost: {host}\r\n\r\n");
            assert_eq!(url(&ask, RedirectPort::FromHostHeader(5000)), "https://registry.test:5000/a", "{host}");
        }
        assert_eq!(
            url("GET http://evil.example/ HTTP/1.1\r\n\r\n", RedirectPort::Fixed(443)),
            "https://registry.test/"
        );
    }

    #[test]
    fn only_browsers_are_redirected_on_the_tls_port() {
        let told = |request: &str| {
            https_required_response(&PlainRequestHead::parse(request.as_bytes()).unwrap(), "https://r/")
        };
        let browser = "GET / HTTP/1.1\r\nAccept: text/html,*/*\r\n\r\n";
        assert!(told(browser).starts_with("HTTP/1.1 308 "));
        assert!(told(&browser.replace("GET", "POST")).starts_with("HTTP/1.1 400 "));
        assert!(told("GET / HTTP/1.1\r\nAccept: */*\r\n\r\n").contains("\"UNSUPPORTED\""));
        assert!(told("HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    }

    #[test]
    fn only_the_path_of_a_validation_asks_for_a_proof() {
        let asked = |line: &str| {
            let head = PlainRequestHead::parse(format!("{line} HTTP/1.1\r\n\r\n").as_bytes()).unwrap();
            head.acme_token().map(str::to_owned)
        };
        assert_eq!(asked("GET /.well-known/acme-challenge/to-ken").as_deref(), Some("to-ken"));
        for other in ["POST /.well-known/acme-challenge/to-ken", "GET /.well-known/other/to-ken", "GET /"] {
            assert_eq!(asked(other), None, "{other}");
        }
        assert!(
            challenge_response("to-ken.thumb").ends_with("Content-Length: 12\r\nConnection: close\r\n\r\nto-ken.thumb")
        );
    }

    #[test]
    fn what_is_no_http_is_not_answered() {
        assert_eq!(PlainRequestHead::parse(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), None);
        assert_eq!(PlainRequestHead::parse(b"\r\n\r\n"), None);
    }
}
