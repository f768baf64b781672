//! Tests credentials that replace passwords: access tokens, refresh tokens, and tokens that expire during an upload.
//!
//! Invariant: a secret appears only in the response or output for its owner.

mod access_tokens;
mod commands;
mod refresh_tokens;
mod uploads;

use std::path::Path;
use std::time::Duration;

use crate::support::client::{Answer, Client, basic};
use crate::support::portcullis::{ALICE, BOB, cli};
use crate::support::tool::Tool;
use crate::support::{Portcullis, Setup, eventually};

/// The time within which a revocation takes effect on a running server, and some margin.
const SOON: Duration = Duration::from_secs(2);

fn start() -> Portcullis {
    Setup::new().users(&[ALICE, BOB]).start()
}

/// The call `portcullis token …` for a running server's data.
pub(crate) fn token(server: &Portcullis, arguments: &[&str]) -> Tool {
    let tool = cli().folder(Path::new("/")).arg("token").args(arguments);
    tool.arg("--data").arg(server.data()).arg("--htpasswd").arg(server.users())
}

/// Creates an access token of [`ALICE`]'s and returns its secret.
pub(crate) fn create(server: &Portcullis, name: &str, arguments: &[&str]) -> String {
    let made = token(server, &[&["create", name, "--user", ALICE.name], arguments].concat()).succeeds();
    made.stdout.trim_end().to_owned()
}

fn alice(server: &Portcullis, secret: &str) -> Client {
    Client::new(server).authorized(&basic(ALICE.name, secret))
}

/// Requests a bearer token from the token endpoint, with a password or an access token.
fn ask(server: &Portcullis, user: &str, password: &str, query: &str) -> Answer {
    Client::new(server).get(&format!("/token?{query}")).header("authorization", &basic(user, password)).send()
}

fn bearer(server: &Portcullis, answer: &Answer) -> Client {
    Client::new(server).authorized(&format!("Bearer {}", answer.json()["token"].as_str().unwrap()))
}

/// Whether a client is refused within [`SOON`].
fn ends(client: &Client, path: &str) -> bool {
    eventually(SOON, || client.get(path).send().status == 401)
}

const EVERYTHING: &str = "scope=repository:team/app:pull,push,delete&scope=repository:other/app:pull,push,delete";

/// The messages of an error response.
fn message(answer: &Answer) -> String {
    answer.json()["errors"][0]["message"].as_str().unwrap().to_owned()
}
