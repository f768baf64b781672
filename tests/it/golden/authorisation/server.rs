//! Runs the server behind the authorisation table, with one client for each kind of caller.
//!
//! Invariant: each request finds the same images; what a request deletes or mounts is restored before the next.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use super::{ROWS, kind_of};
use crate::credentials;
use crate::support::oci_layout::digest;
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};
use crate::support::test_ca::TestCa;
use crate::support::{PortcullisServer, ServerDir, eventually};

const PASSWORD: &str = "the same for all users";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const BLOB: &[u8] = b"{}";
const NEW: &[u8] = b"not there yet";
const SECRET: &[u8] = b"in elsewhere/app and nowhere else";

/// One kind of caller: its name in the table, and its client.
pub(super) struct TableCaller {
    pub(super) name: &'static str,
    pub(super) client: RegistryClient,
    /// The user in whose name uploads are begun, if the caller has one.
    user: Option<&'static str>,
}

/// A server with three repositories, and the credentials of all callers.
pub(super) struct AuthorisationServer {
    _server: PortcullisServer,
    without_credentials: RegistryClient,
    pub(super) owner: RegistryClient,
    anonymous: String,
    tokens: [String; 4],
    keys: String,
    grants: OwnerCredentials,
    certified: RegistryClient,
}

/// Credentials that replace owner's password: access tokens and tokens issued for them.
struct OwnerCredentials {
    machine: String,
    issued: String,
    outside: String,
    revoked: String,
}

impl OwnerCredentials {
    fn make(server: &PortcullisServer, owner: &RegistryClient, bearer: impl Fn(&RegistryClient) -> String) -> Self {
        let create = |name: &str, arguments: &[&str]| {
            let made = credentials::token(server, &[&["create", name, "--user", "owner"], arguments].concat()).run_ok();
            basic("owner", made.stdout.trim_end())
        };
        let machine = create("machine", &["--repository", "team/app"]);
        let outside = create("outside", &["--repository", "elsewhere/app", "--action", "pull,push,delete"]);
        let revoked = bearer(&owner.with_authorization(&create("revoked", &["--action", "pull,push,delete"])));
        credentials::token(server, &["revoke", "revoked"]).run_ok();
        let gone = owner.with_authorization(&revoked);
        assert!(eventually(Duration::from_secs(2), || gone.get("/v2/").send().status == StatusCode::UNAUTHORIZED));
        Self { issued: bearer(&owner.with_authorization(&machine)), machine, outside, revoked }
    }
}

impl AuthorisationServer {
    /// Starts the server with this policy.
    pub(super) fn start(policy: &str) -> Self {
        let (authority, file) = (TestCa::new(), tempfile::NamedTempFile::new().unwrap());
        std::fs::write(file.path(), authority.pem()).unwrap();
        let clients = format!("{policy}\n[tls.client]\nca = \"{}\"\nmode = \"optional\"\n", file.path().display());
        let server = ServerDir::new().with_users_file(&users()).with_configuration(&clients).start();
        let certified = RegistryClient::with_certificate(&server, &authority.issue("writer"));
        let nobody = RegistryClient::new(&server);
        let owner = nobody.with_authorization(&basic("owner", PASSWORD));
        let everything = ["team/app", "public/app", "elsewhere/app", "absent/image"]
            .map(|name| format!("repository:{name}:pull,push,delete"))
            .join(" ")
            + " registry:catalog:*";
        let token = |client: &RegistryClient, scope: &str| {
            let path = form_urlencoded::Serializer::new("/token?".to_owned()).append_pair("scope", scope).finish();
            format!("Bearer {}", client.get(&path).send().expect(200).json()["token"].as_str().unwrap())
        };
        let tokens = [
            everything.as_str(),
            "repository:team/app:pull,push",
            "repository:team/app:pull",
            "repository:elsewhere/app:pull,push,delete",
        ];
        let tokens = tokens.map(|scope| token(&owner, scope));
        let keys = "repository:team/app:admin repository:absent/image:admin";
        let keys = token(&nobody.with_authorization(&basic("admin", PASSWORD)), keys);
        let anonymous = token(&nobody, &everything);
        let grants = OwnerCredentials::make(&server, &owner, |client| token(client, &everything));
        let harbour =
            Self { _server: server, without_credentials: nobody, owner, anonymous, tokens, keys, grants, certified };
        harbour.fill_repositories();
        harbour
    }

    /// All callers for row `number`; each row has its own name for the wrong password, because repeated ones lead to
    /// 429.
    pub(super) fn callers(&self, number: usize) -> Vec<TableCaller> {
        let with = |name, authorization: &str, user| TableCaller {
            name,
            client: self.owner.with_authorization(authorization),
            user,
        };
        let password = |name| with(name, &basic(name, PASSWORD), Some(name));
        let [token, single, narrow, elsewhere] = &self.tokens;
        vec![
            TableCaller { name: "no-login", client: self.without_credentials.clone(), user: None },
            with("anonymous", &self.anonymous, None),
            password("reader"),
            password("writer"),
            password("owner"),
            password("admin"),
            with("keys", &self.keys, Some("admin")),
            with("token", token, Some("owner")),
            with("single", single, Some("owner")),
            with("narrow", narrow, Some("owner")),
            with("elsewhere", elsewhere, Some("owner")),
            password("no-rules"),
            with("machine", &self.grants.machine, Some("owner")),
            with("made", &self.grants.issued, Some("owner")),
            with("outside", &self.grants.outside, Some("owner")),
            with("revoked", &self.grants.revoked, Some("owner")),
            TableCaller { name: "certified", client: self.certified.clone(), user: Some("writer") },
            with("wrong", &basic(&format!("wrong{number}"), "another"), None),
            with("forged", &forged(token, narrow), None),
        ]
    }

    /// Pushes an image to each of two repositories, and to a third one a blob that the others do not have.
    fn fill_repositories(&self) {
        for (name, blob) in [("team/app", BLOB), ("public/app", BLOB), ("elsewhere/app", SECRET)] {
            let upload = format!("/v2/{name}/blobs/uploads/?digest={}", digest(blob));
            self.owner.post(&upload).body(blob).send().expect(201);
        }
        for name in ["team/app", "public/app"] {
            let put = self.owner.put(&format!("/v2/{name}/manifests/v1")).header("content-type", MANIFEST);
            put.body(manifest().as_bytes()).send().expect(201);
        }
    }

    /// The path of a row for a caller, with digests and fresh uploads filled in.
    pub(super) fn fill_template(&self, template: &str, caller: &TableCaller) -> String {
        let path = template.replace("MANIFEST", &digest(manifest().as_bytes()));
        let path = path.replace("BLOB", &digest(BLOB)).replace("NEW", &digest(NEW)).replace("SECRET", &digest(SECRET));
        if path.contains("OWN") {
            return path.replace("OWN", &self.begin(caller.user.unwrap_or("owner")));
        }
        if path.contains("FOREIGN") {
            let foreigner = if caller.user == Some("writer") { "owner" } else { "writer" };
            return path.replace("FOREIGN", &self.begin(foreigner));
        }
        path
    }

    /// Begins an upload, in owner's name if this user may not.
    fn begin(&self, user: &str) -> String {
        let ask =
            |user| self.owner.with_authorization(&basic(user, PASSWORD)).post("/v2/team/app/blobs/uploads/").send();
        let mut begun = ask(user);
        if begun.status == StatusCode::FORBIDDEN {
            begun = ask("owner");
        }
        begun.expect(202).header("docker-upload-uuid").to_owned()
    }

    /// Sends a request and restores what it changed.
    pub(super) fn call(&self, method: &Method, path: &str, client: &RegistryClient) -> ClientResponse {
        let request = client.request(method.clone(), path);
        let request = match kind_of(method, path) {
            "PutManifest" => request.header("content-type", MANIFEST).body(manifest().as_bytes()),
            "UploadWhole" | "UploadChunk" | "FinishUpload" => request.body(NEW),
            _ => request,
        };
        let answer = request.send();
        if *method == Method::DELETE && answer.status.is_success() {
            self.fill_repositories();
        }
        if answer.status == StatusCode::CREATED && path.contains(&digest(SECRET)) {
            let mounted = format!("/v2/team/app/blobs/{}", digest(SECRET));
            self.owner.delete(&mounted).send().expect(202);
        }
        answer
    }
}

fn users() -> String {
    let hash = bcrypt::hash(PASSWORD, 5).unwrap();
    let wrong = (0..ROWS.len()).map(|number| format!("wrong{number}"));
    let names = ["admin", "owner", "writer", "reader", "no-rules"].map(ToOwned::to_owned).into_iter().chain(wrong);
    names.fold(String::new(), |text, name| text + &name + ":" + &hash + "\n")
}

fn manifest() -> String {
    let empty = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(BLOB), "size": BLOB.len()});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": empty, "layers": [empty]}).to_string()
}

/// The header and claims of one genuine token with the signature of another.
fn forged(token: &str, other: &str) -> String {
    let (said, _) = token.rsplit_once('.').unwrap();
    let (_, signature) = other.rsplit_once('.').unwrap();
    format!("{said}.{signature}")
}
