//! Writes the authorisation table: the status of every endpoint for every kind of caller, and the challenge of a 401.
//!
//! Invariant: the table covers every endpoint. [`kind`] matches [`Endpoint`] without a wildcard, and each of its
//! names must be the kind of some row.

mod server;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use http::{Method, StatusCode};
use portcullis::api::{
    AdminOperation, DeleteOperation, Endpoint, MountSource, NewUpload, PublicEndpoint, PullOperation, PushOperation,
    RegistryEndpoint, RepositoryOperation, UploadOperation,
};

use super::assert_golden;
use crate::support::registry_client::ClientResponse;
use server::AuthorisationServer;

const POLICY: &str = r#"[[access]]
users = ["admin"]
repositories = ["**"]
actions = ["pull", "push", "delete", "admin"]

[[access]]
users = ["owner"]
repositories = ["**"]
actions = ["pull", "push", "delete"]

[[access]]
users = ["writer"]
repositories = ["team/app"]
actions = ["pull", "push"]

[[access]]
users = ["reader"]
repositories = ["team/app"]
actions = ["pull"]

[[access]]
users = ["anonymous"]
repositories = ["public/*"]
actions = ["pull"]
"#;

const LEGEND: &str = r"The status of every endpoint for every kind of caller, under this policy. Callers that no rule names are denied.

{policy}
The callers:

no-login    no credentials
anonymous   a token that was given without a password, for all that anonymous callers may do
reader      a password
writer      a password
owner       a password
admin       a password
keys        a token of admin's to administer team/app and absent/image
token       a token of owner's for everything
single      a token of owner's to pull and push team/app
narrow      a token of owner's to pull team/app
elsewhere   a token of owner's for elsewhere/app
no-rules    a password, and no rule
machine     an access token of owner's to pull team/app
made        a token that was given for it, for everything
outside     an access token of owner's for everything in elsewhere/app
revoked     a token that was given for an access token, which has been revoked since
certified   a certificate of writer's, and no password
wrong       a wrong password
forged      a token with the signature of another one

A 401 comes with a challenge for a token of the scope in the last column. After a 401: s, the challenge has the error
insufficient_scope; t, the error invalid_token; b, the challenge asks for a password instead.
SECRET is a blob that only elsewhere/app has.
OWN is an upload that the caller began, if the caller could, else one of owner's; FOREIGN is one of another user's.
";

/// The rows of the table: upper-case words are replaced by digests or by uploads made for each request.
const ROWS: &[(Method, &str)] = &[
    (Method::GET, "/v2/"),
    (Method::GET, "/v2/_catalog"),
    (Method::GET, "/v1/_ping"),
    (Method::GET, "/v1/search?q=app"),
    (Method::GET, "/v2/team/app/tags/list"),
    (Method::GET, "/v2/team/app/manifests/v1"),
    (Method::GET, "/v2/team/app/manifests/MANIFEST"),
    (Method::PUT, "/v2/team/app/manifests/v1"),
    (Method::DELETE, "/v2/team/app/manifests/v1"),
    (Method::DELETE, "/v2/team/app/manifests/MANIFEST"),
    (Method::GET, "/v2/team/app/blobs/BLOB"),
    (Method::GET, "/v2/team/app/blobs/SECRET"),
    (Method::DELETE, "/v2/team/app/blobs/BLOB"),
    (Method::POST, "/v2/team/app/blobs/uploads/"),
    (Method::POST, "/v2/team/app/blobs/uploads/?digest=NEW"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=BLOB&from=team/app"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=BLOB&from=public/app"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=BLOB"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=SECRET&from=team/app"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=SECRET&from=elsewhere/app"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=SECRET&from=No"),
    (Method::POST, "/v2/team/app/blobs/uploads/?mount=SECRET"),
    (Method::GET, "/v2/team/app/blobs/uploads/OWN"),
    (Method::PATCH, "/v2/team/app/blobs/uploads/OWN"),
    (Method::PUT, "/v2/team/app/blobs/uploads/OWN?digest=NEW"),
    (Method::DELETE, "/v2/team/app/blobs/uploads/OWN"),
    (Method::GET, "/v2/team/app/blobs/uploads/FOREIGN"),
    (Method::PATCH, "/v2/team/app/blobs/uploads/FOREIGN"),
    (Method::PUT, "/v2/team/app/blobs/uploads/FOREIGN?digest=NEW"),
    (Method::DELETE, "/v2/team/app/blobs/uploads/FOREIGN"),
    (Method::GET, "/v2/team/app/referrers/MANIFEST"),
    (Method::GET, "/v2/public/app/tags/list"),
    (Method::GET, "/v2/public/app/manifests/v1"),
    (Method::PUT, "/v2/public/app/manifests/v1"),
    (Method::DELETE, "/v2/public/app/manifests/v1"),
    (Method::GET, "/v2/public/app/blobs/BLOB"),
    (Method::POST, "/v2/public/app/blobs/uploads/"),
    (Method::GET, "/v2/public/app/referrers/MANIFEST"),
    (Method::GET, "/v2/absent/image/manifests/v1"),
    (Method::GET, "/v2/absent/image/blobs/BLOB"),
    (Method::DELETE, "/v1/repositories/team/app"),
    (Method::DELETE, "/v1/repositories/public/app/"),
    (Method::DELETE, "/v1/repositories/absent/image"),
    (Method::GET, "/token?scope=repository:team/app:pull"),
    (Method::GET, "/token/jwks"),
    (Method::GET, "/ca.crt"),
    (Method::GET, "/healthz"),
    (Method::GET, "/readyz"),
];

/// The pattern of an endpoint that is an operation on a repository.
macro_rules! repository {
    ($right:ident($operation:pat)) => {
        Endpoint::Registry(RegistryEndpoint::Repository { operation: RepositoryOperation::$right($operation), .. })
    };
}

macro_rules! kinds {
    ($($kind:ident = $pattern:pat),+ $(,)?) => {
        const KINDS: &[&str] = &[$(stringify!($kind)),+];

        /// The name of an endpoint's kind. A new variant does not compile until it has a line here, and then needs a
        /// row.
        fn kind(endpoint: &Endpoint) -> &'static str {
            match endpoint {
                $($pattern => stringify!($kind)),+
            }
        }
    };
}

kinds! {
    Base = Endpoint::Registry(RegistryEndpoint::VersionCheck),
    Catalog = Endpoint::Registry(RegistryEndpoint::Catalog(_)),
    Search = Endpoint::Registry(RegistryEndpoint::Search(_)),
    Tags = repository!(Pull(PullOperation::Tags(_))),
    Manifest = repository!(Pull(PullOperation::Manifest(_))),
    Blob = repository!(Pull(PullOperation::Blob(_))),
    Referrers = repository!(Pull(PullOperation::Referrers(..))),
    PutManifest = repository!(Push(PushOperation::Manifest(..))),
    StartUpload = repository!(Push(PushOperation::StartUpload(NewUpload::Session(_)))),
    UploadWhole = repository!(Push(PushOperation::StartUpload(NewUpload::Monolithic(_)))),
    MountFrom = repository!(Push(PushOperation::StartUpload(NewUpload::Mount(_, MountSource::Named(_))))),
    MountFromNowhere = repository!(Push(PushOperation::StartUpload(NewUpload::Mount(_, MountSource::InvalidName)))),
    MountFromAnywhere = repository!(Push(PushOperation::StartUpload(NewUpload::Mount(_, MountSource::Any)))),
    UploadStatus = repository!(Push(PushOperation::Upload(_, UploadOperation::Status))),
    UploadChunk = repository!(Push(PushOperation::Upload(_, UploadOperation::Chunk))),
    FinishUpload = repository!(Push(PushOperation::Upload(_, UploadOperation::Finish(_)))),
    CancelUpload = repository!(Push(PushOperation::Upload(_, UploadOperation::Cancel))),
    DeleteManifest = repository!(Delete(DeleteOperation::Manifest(_))),
    DeleteBlob = repository!(Delete(DeleteOperation::Blob(_))),
    RemoveRepository = repository!(Admin(AdminOperation::DeleteRepository)),
    Token = Endpoint::Token,
    TokenKeys = Endpoint::Public(PublicEndpoint::TokenKeys),
    Ping = Endpoint::Public(PublicEndpoint::Ping),
    Authority = Endpoint::Public(PublicEndpoint::CaCertificate),
    Alive = Endpoint::Public(PublicEndpoint::Liveness),
    Ready = Endpoint::Public(PublicEndpoint::Readiness),
}

#[test]
fn everybody_may_do_what_the_policy_says_and_nothing_else() {
    let harbour = AuthorisationServer::start(POLICY);
    let mut text = LEGEND.replace("{policy}", POLICY);
    let names: Vec<&str> = harbour.callers(0).iter().map(|caller| caller.name).collect();
    writeln!(text, "\n{}", line("", &names, "scope")).unwrap();
    let mut kinds = BTreeSet::new();
    for (number, (method, template)) in ROWS.iter().enumerate() {
        let mut row = TableRow::default();
        for caller in harbour.callers(number) {
            let path = harbour.fill_template(template, &caller);
            kinds.insert(kind_of(method, &path));
            let answer = harbour.call(method, &path, &caller.client);
            row.add(&answer, &harbour);
        }
        let label = format!("{method} {template}");
        writeln!(text, "{}", line(&label, &row.cells, &row.scopes.into_iter().collect::<Vec<_>>().join(" or ")))
            .unwrap();
    }
    for kind in KINDS {
        assert!(kinds.contains(kind), "{kind} should have a row");
    }
    assert_golden("authorisation.txt", &text);
}

fn line(label: &str, cells: &[impl AsRef<str>], last: &str) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| format!("{:<9}", cell.as_ref())).collect();
    format!("{label:<64} {} {last}", cells.join(" ")).trim_end().to_owned()
}

fn kind_of(method: &Method, path: &str) -> &'static str {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    kind(&Endpoint::parse(method, path, query).unwrap())
}

/// One line of the table.
#[derive(Default)]
struct TableRow {
    cells: Vec<String>,
    scopes: BTreeSet<String>,
}

impl TableRow {
    fn add(&mut self, answer: &ClientResponse, harbour: &AuthorisationServer) {
        let status = answer.status.as_u16();
        let Some(challenge) = answer.optional_header("www-authenticate") else {
            assert_ne!(answer.status, StatusCode::UNAUTHORIZED, "a 401 should say how to sign in: {answer}");
            return self.cells.push(status.to_string());
        };
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "only a 401 asks for anything: {answer}");
        if challenge.starts_with("Basic ") {
            return self.cells.push(format!("{status} b"));
        }
        let challenge = answer.challenge();
        assert_eq!(challenge.realm, format!("{}/token", harbour.owner.origin), "{answer}");
        self.scopes.extend(challenge.scope);
        self.cells.push(match challenge.error.as_deref() {
            None => status.to_string(),
            Some("insufficient_scope") => format!("{status} s"),
            Some("invalid_token") => format!("{status} t"),
            Some(other) => panic!("{other} is no error of RFC 6750 that we send: {answer}"),
        });
    }
}
