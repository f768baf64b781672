//! What an answer means that is not the one that clients need.
//!
//! Invariant: every status has a sentence, and the server's own words are quoted where it has any.

use http::{StatusCode, header};

use super::{Fault, exchange::Answer};

/// What was tried, by whom.
pub(super) struct Deed<'a> {
    /// Nobody, if nobody is signed in.
    pub(super) user: Option<&'a str>,
    /// `pull`, `push` or `delete`, and the repository; nothing, where it was not about one.
    pub(super) about: Option<(&'a str, &'a str)>,
    /// `PUT /v2/x/manifests/y`
    pub(super) request: String,
}

impl Deed<'_> {
    /// Why this answer is not what was needed.
    pub(super) fn refused(&self, answer: &Answer) -> Fault {
        let status = answer.status;
        if is_page(answer) {
            return Fault::new(
                format!(
                    "something in between answers with a page for people instead of the registry ({}: {status})",
                    self.request
                ),
                "a proxy or a captive portal has taken the connection: let it pass, or add the registry to NO_PROXY; on the server's \
                 side, look at the proxy in front of it",
            );
        }
        let told = answer.told().map(|told| format!(", \"{told}\"")).unwrap_or_default();
        let what = format!("{} is answered with {status}{told}", self.request);
        match status {
            StatusCode::UNAUTHORIZED => self.unauthorized(&what),
            StatusCode::FORBIDDEN => self.forbidden(&what),
            StatusCode::NOT_FOUND => Fault::new(
                what,
                "is this a registry? /v2/ must be at the root of the host; a proxy in front must pass all of /v2/ on",
            ),
            StatusCode::TOO_MANY_REQUESTS => {
                let wait = answer.header(&header::RETRY_AFTER).unwrap_or("some");
                Fault::new(
                    format!("{what}: too many requests, or too many wrong passwords"),
                    format!("wait {wait} seconds, and look for who else asks from this address"),
                )
            }
            StatusCode::PAYLOAD_TOO_LARGE => Fault::new(
                format!("{what}: a proxy in front of the registry takes no bodies of 2 MiB, and layers are larger"),
                "nginx: client_max_body_size 0;",
            ),
            StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Fault::new(
                format!("{what}: the registry behind a proxy does not answer, or is being started or stopped"),
                "look at the log of the registry, and at the proxy's when the registry is well",
            ),
            StatusCode::INSUFFICIENT_STORAGE => {
                Fault::new(what, "make room on the disk of the registry: 'portcullis gc' on its machine")
            }
            status if status.is_redirection() => {
                let place = answer.header(&header::LOCATION).unwrap_or("nowhere");
                Fault::new(
                    format!("{what}: it sends clients on to {place}"),
                    "name the host and port at the end of that way; clients follow no redirect when they sign in or push",
                )
            }
            _ => Fault::new(what, "the log of the server says more; look for the time of this request"),
        }
    }

    fn unauthorized(&self, what: &str) -> Fault {
        let Some(user) = self.user else {
            return Fault::new(format!("{what}: only those who sign in may do this"), "name somebody with --user");
        };
        Fault::new(
            format!("{what}: wrong user or password"),
            format!(
                "on the machine of the registry: portcullis user verify {user}, or set another one: portcullis user passwd {user}"
            ),
        )
    }

    fn forbidden(&self, what: &str) -> Fault {
        let who = self.user.unwrap_or("anonymous");
        let Some((action, repository)) = self.about else {
            return Fault::new(
                format!("{what}: {who} is known and may not do this"),
                "look at the rules: [[access]] in its configuration",
            );
        };
        Fault::new(
            format!("{what}: {who} may not {action} {repository}"),
            format!(
                "see which rule decides, on the machine of the registry: portcullis access explain {who} {action} {repository}"
            ),
        )
    }
}

/// A page for people, as proxies and portals show them.
pub(super) fn is_page(answer: &Answer) -> bool {
    let kind = answer.header(&header::CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let is_html = kind.starts_with("text/html") || answer.body.trim_ascii_start().starts_with(b"<");
    // nginx answers its own errors with pages; those have a status that says more.
    let says_more = matches!(answer.status.as_u16(), 401 | 404 | 413 | 429 | 500..);
    is_html && !says_more
}
