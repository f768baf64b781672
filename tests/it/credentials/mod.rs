//! Tests credentials that replace passwords: access tokens, refresh tokens, and tokens that expire during an upload.
//!
//! Invariant: a secret appears only in the response or output for its owner.

mod access_tokens;
mod commands;
mod refresh_tokens;
mod uploads;

use std::path::Path;
use std::time::Duration;

use crate::support::portcullis_server::{ALICE, BOB, portcullis_command};
use crate::support::registry_client::{ClientResponse, RegistryClient, basic};
use crate::support::tool_command::ToolCommand;
use crate::support::{PortcullisServer, ServerDir, eventually};

/// The time within which a running server notices a change, and some margin.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(2);

fn start() -> PortcullisServer {
    ServerDir::new().with_users(&[ALICE, BOB]).start()
}

/// The call `portcullis token …` for a running server's data.
pub(crate) fn token(server: &PortcullisServer, arguments: &[&str]) -> ToolCommand {
    let tool = portcullis_command().folder(Path::new("/")).arg("token").args(arguments);
    tool.arg("--data").arg(server.data()).arg("--htpasswd").arg(server.users())
}

/// Creates an access token of [`ALICE`]'s and returns its secret.
pub(crate) fn create(server: &PortcullisServer, name: &str, arguments: &[&str]) -> String {
    let made = token(server, &[&["create", name, "--user", ALICE.name], arguments].concat()).run_ok();
    made.stdout.trim_end().to_owned()
}

fn alice(server: &PortcullisServer, secret: &str) -> RegistryClient {
    RegistryClient::new(server).with_authorization(&basic(ALICE.name, secret))
}

/// Requests a bearer token from the token endpoint, with a password or an access token.
fn ask(server: &PortcullisServer, user: &str, password: &str, query: &str) -> ClientResponse {
    RegistryClient::new(server).get(&format!("/token?{query}")).header("authorization", &basic(user, password)).send()
}

fn bearer(server: &PortcullisServer, answer: &ClientResponse) -> RegistryClient {
    RegistryClient::new(server).with_authorization(&format!("Bearer {}", answer.json()["token"].as_str().unwrap()))
}

/// Whether a client is refused within [`CHANGE_TIMEOUT`].
fn is_refused_soon(client: &RegistryClient, path: &str) -> bool {
    eventually(CHANGE_TIMEOUT, || client.get(path).send().status == 401)
}

const EVERYTHING: &str = "scope=repository:team/app:pull,push,delete&scope=repository:other/app:pull,push,delete";

/// The messages of an error response.
fn message(answer: &ClientResponse) -> String {
    answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}
