//! Generates random registry requests that nginx and the migrated rules must answer alike.

use std::fmt::{self, Write as _};

use http::Method;
use portcullis::access::{Action, Policy, PolicyDecision, Principal};
use portcullis::api::{Endpoint, RegistryEndpoint, RepositoryOperation};
use portcullis::oci::RepositoryName;

use crate::support::portcullis_server::{ALICE, BOB, TestUser};
use crate::support::seeded_random::SeededRandom;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, WireResponse};

/// One request of one user.
pub(super) struct RandomRequest {
    user: Option<&'static TestUser>,
    method: &'static str,
    /// The path below `/v2/`, decoded.
    decoded_path: String,
    /// The path as sent, perhaps percent-encoded.
    path: String,
}

const REPOSITORIES: [&str; 22] = [
    "a",
    "b",
    "ab",
    "aa",
    "a/b",
    "a/b/c",
    "b/a",
    "x",
    "x/a",
    "x/b/y",
    "a-x",
    "team-x/app",
    "team",
    "team/app",
    "team/app/web",
    "teamster",
    "a/manifests",
    "manifests",
    "blobs/a",
    "a/tags/list",
    "v2/a",
    "a/blobs/uploads",
];

const RESOURCES: [(&str, &str); 17] = [
    ("GET", "manifests/latest"),
    ("HEAD", "manifests/latest"),
    ("GET", "manifests/V1.x"),
    ("GET", "manifests/sha256:DIGEST"),
    ("GET", "blobs/sha256:DIGEST"),
    ("HEAD", "blobs/sha256:DIGEST"),
    ("GET", "tags/list"),
    ("GET", "referrers/sha256:DIGEST"),
    ("POST", "blobs/uploads/"),
    ("POST", "blobs/uploads/?digest=sha256:DIGEST"),
    ("POST", "blobs/uploads/?mount=sha256:DIGEST&from=a/b"),
    ("GET", "blobs/uploads/6a1d3f5e-8c1b-4f0e-9d2a-1b2c3d4e5f60"),
    ("PATCH", "blobs/uploads/6a1d3f5e-8c1b-4f0e-9d2a-1b2c3d4e5f60"),
    ("PUT", "blobs/uploads/6a1d3f5e-8c1b-4f0e-9d2a-1b2c3d4e5f60?digest=sha256:DIGEST"),
    ("PUT", "manifests/latest"),
    ("PUT", "manifests/a.x"),
    ("DELETE", "manifests/latest"),
];

impl RandomRequest {
    /// All requests of all users to some repositories.
    pub(super) fn random(chance: &mut SeededRandom) -> Vec<Self> {
        let mut questions = Vec::new();
        for _ in 0..5 {
            let repository = chance.one_of(&REPOSITORIES);
            for user in [None, Some(&ALICE), Some(&BOB)] {
                for (method, wanted) in RESOURCES {
                    let plain = format!("{repository}/{}", wanted.replace("DIGEST", &"0".repeat(64)));
                    let path = if chance.percent(20) { encoded(&plain, chance) } else { plain.clone() };
                    questions.push(Self { user, method, decoded_path: plain, path });
                }
            }
        }
        questions
    }

    /// Whether the path parser accepts the request and the rules allow it.
    pub(super) fn is_allowed(&self, policy: &Policy, users: &str) -> bool {
        let path = format!("/v2/{}", self.path);
        let (path, query) = path.split_once('?').map_or((path.as_str(), None), |(path, query)| (path, Some(query)));
        let method: Method = self.method.parse().unwrap();
        let Ok(endpoint) = Endpoint::parse(&method, path, query) else { return false };
        let Some((action, repository)) = needed(&endpoint) else { return false };
        // A user who is not in the users file is refused before the rules apply.
        if self.user.is_some_and(|user| !users.contains(&format!("{}:", user.name))) {
            return false;
        }
        let principal = self.user.map_or(Principal::Anonymous, |user| Principal::User(user.name.parse().unwrap()));
        matches!(policy.decide(&principal, action, repository), PolicyDecision::Allowed(_))
    }

    pub(super) fn ask(&self, wire: &mut WireConnection, host: &str) -> WireResponse {
        let Self { user, method, path, .. } = self;
        let mut head = format!("{method} /v2/{path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\n");
        if let Some(user) = user {
            let _ = write!(head, "{}\r\n", basic_authorization(user));
        }
        wire.send(format!("{head}\r\n").as_bytes());
        wire.response_to(method)
    }

    /// Whether nginx passed the same request on.
    pub(super) fn is_passed_on(&self, answer: &WireResponse) -> bool {
        let seen = answer.header("x-seen").unwrap_or_default();
        answer.status == 200 && decoded(seen) == format!("{} /v2/{}", self.method, self.decoded_path)
    }
}

impl fmt::Display for RandomRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} /v2/{} of {}", self.method, self.path, self.user.map_or("anonymous", |user| user.name))
    }
}

/// The action and repository that an endpoint requires.
fn needed(endpoint: &Endpoint) -> Option<(Action, &RepositoryName)> {
    let Endpoint::Registry(RegistryEndpoint::Repository { name, operation }) = endpoint else { return None };
    match operation {
        RepositoryOperation::Pull(_) => Some((Action::Pull, name)),
        RepositoryOperation::Push(_) => Some((Action::Push, name)),
        RepositoryOperation::Delete(_) => Some((Action::Delete, name)),
        RepositoryOperation::Admin(_) => None,
    }
}

/// The path with some of its letters percent-encoded.
fn encoded(path: &str, chance: &mut SeededRandom) -> String {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let mut out = String::new();
    for byte in path.bytes() {
        if chance.percent(8) {
            let _ = write!(out, "%{byte:02x}");
        } else {
            out.push(char::from(byte));
        }
    }
    query.map_or(out.clone(), |query| format!("{out}?{query}"))
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            let digits: String = bytes.by_ref().take(2).map(char::from).collect();
            out.push(u8::from_str_radix(&digits, 16).unwrap());
        } else {
            out.push(byte);
        }
    }
    String::from_utf8(out).unwrap()
}
