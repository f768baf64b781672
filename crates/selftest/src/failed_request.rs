//! Explains an unexpected HTTP response: turns its status and error message into a cause and a fix.
//!
//! Invariant: every status has an explanation, and the server's own error message is quoted if there is one.

use http::{StatusCode, header};

use super::{Diagnosis, http_client::RegistryResponse};

/// The request that failed, with its user and purpose.
pub(super) struct FailedRequest<'a> {
    /// The signed-in user; `None` for an anonymous request.
    pub(super) user: Option<&'a str>,
    /// The action (`pull`, `push` or `delete`) and the repository; `None` for a request without a repository.
    pub(super) about: Option<(&'a str, &'a str)>,
    /// Method and path of the request: `PUT /v2/x/manifests/y`.
    pub(super) request: String,
}

impl FailedRequest<'_> {
    /// The fault that explains this response.
    pub(super) fn diagnose(&self, answer: &RegistryResponse) -> Diagnosis {
        let status = answer.status;
        if is_html_page(answer) {
            return Diagnosis::new(
                format!(
                    "something in between answers with an HTML page instead of the registry ({}: {status})",
                    self.request
                ),
                "a proxy or a captive portal intercepts the connection: let it pass, or add the registry to NO_PROXY; on the server's \
                 side, look at the proxy in front of it",
            );
        }
        let message = answer.error_message().map(|message| format!(", \"{message}\"")).unwrap_or_default();
        let what = format!("{} is answered with {status}{message}", self.request);
        match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(&what),
            StatusCode::FORBIDDEN => self.forbidden(&what),
            StatusCode::NOT_FOUND => Diagnosis::new(
                what,
                "is this a registry? /v2/ must be at the root of the host; a proxy in front must pass all of /v2/ on",
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = answer.header(&header::RETRY_AFTER).unwrap_or("some");
                Diagnosis::new(
                    format!("{what}: too many requests, or too many wrong passwords"),
                    format!("wait {wait} seconds, and look for other clients at this address"),
                )
            }
            StatusCode::PAYLOAD_TOO_LARGE => Diagnosis::new(
                format!("{what}: a proxy in front of the registry accepts no bodies of 2 MiB, and layers are larger"),
                "nginx: client_max_body_size 0;",
            ),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Diagnosis::new(
                format!("{what}: the registry behind a proxy does not answer, or is being started or stopped"),
                "look at the log of the registry, and then at the log of the proxy",
            ),
            StatusCode::INSUFFICIENT_STORAGE => {
                Diagnosis::new(what, "free space on the disk of the registry: 'portcullis gc' on its machine")
            }
            status if status.is_redirection() => {
                let place = answer.header(&header::LOCATION).unwrap_or("nowhere");
                Diagnosis::new(
                    format!("{what}: it redirects clients to {place}"),
                    "name the host and port of that URL; clients follow no redirect when they sign in or push",
                )
            }
            _ => Diagnosis::new(what, "see the log of the server at the time of this request"),
        }
    }

    fn unauthorized(&self, what: &str) -> Diagnosis {
        let Some(user) = self.user else {
            return Diagnosis::new(format!("{what}: this needs a signed-in user"), "name a user with --user");
        };
        Diagnosis::new(
            format!("{what}: wrong user or password"),
            format!(
                "on the machine of the registry: portcullis user verify {user}, or set another one: portcullis user passwd {user}"
            ),
        )
    }

    fn forbidden(&self, what: &str) -> Diagnosis {
        let who = self.user.unwrap_or("anonymous");
        let Some((action, repository)) = self.about else {
            return Diagnosis::new(
                format!("{what}: {who} is not allowed to do this"),
                "look at the access rules: [[access]] in the server's configuration",
            );
        };
        Diagnosis::new(
            format!("{what}: {who} may not {action} {repository}"),
            format!(
                "see which rule decides, on the machine of the registry: portcullis access explain {who} {action} {repository}"
            ),
        )
    }
}

/// Whether the response is an HTML page, as proxies and captive portals send.
pub(super) fn is_html_page(answer: &RegistryResponse) -> bool {
    let kind = answer.header(&header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_html = kind.starts_with("text/html") || answer.body.trim_ascii_start().starts_with(b"<");
    // nginx sends HTML pages for its own errors, but their status explains more.
    let says_more = matches!(answer.status.as_u16(), 401 | 404 | 413 | 429 | 500..);
    is_html && !says_more
}
