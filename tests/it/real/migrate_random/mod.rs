//! Compares nginx with the rules that `migrate` makes of its configuration, for the requests of thousands of random
//! sites.
//!
//! One nginx serves a batch of sites under different names; the server behind it answers each request with the method
//! and path that it received. Only requests that the rules allow are sent, because only those could be too many.
//! `NGINX_SITES=100000 cargo test --test it real::migrate_random` tries more sites, `NGINX_SEED` repeats those of a
//! failed run.

mod requests;
mod site;

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use portcullis::access::Policy;
use portcullis::config::{self, Flags};
use portcullis::migrate::{IncludeFiles, MigrationSource, migrate_with};

use crate::support::daemon::Daemon;
use crate::support::portcullis_server::{ALICE, BOB};
use crate::support::seeded_random::SeededRandom;
use crate::support::tool_command::require;
use crate::support::wire_connection::WireConnection;
use crate::support::{ServerDir, free_port};
use requests::RandomRequest;
use site::RandomSite;

/// The number of sites that one nginx serves.
const BATCH: usize = 100;
/// The default number of sites (`NGINX_SITES`).
const SITES: u64 = 2000;
/// The default seed (`NGINX_SEED`): fixed, so that a failure is reproducible.
const SEED: u64 = 20_260_727;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} should be a number")))
}

#[test]
fn no_request_is_let_in_that_nginx_refused() {
    let (seed, sites) = (variable("NGINX_SEED").unwrap_or(SEED), variable("NGINX_SITES").unwrap_or(SITES));
    let stage = ServerDir::without_files();
    drop(stage.start());
    let user =
        |user: &crate::support::portcullis_server::TestUser| format!("{}:{{PLAIN}}{}\n", user.name, user.password);
    stage.write("users", &[user(&ALICE), user(&BOB)].concat());
    stage.write("others", &user(&ALICE));
    let (mut asked, mut closed) = (0, 0);
    for batch in 0..sites.div_ceil(BATCH as u64) {
        let mut chance = SeededRandom::new(seed, batch);
        let common = site::common(&mut chance, stage.folder());
        let all: Vec<RandomSite> =
            (0..BATCH).map(|number| RandomSite::random(number, &common, &mut chance, stage.folder())).collect();
        let address = std::net::SocketAddr::from(([127, 0, 0, 1], free_port::free()));
        let _nginx = start(&stage, address, &common, &all);
        let mut wire = WireConnection::open(address, &stage.path("certs/ca.crt")).unwrap();
        for site in &all {
            let Some((toml, users, policy)) = rules(&stage, &site.text) else { continue };
            let questions = RandomRequest::random(&mut chance);
            for question in questions {
                if !question.is_allowed(&policy, &users) {
                    closed += 1;
                    continue;
                }
                asked += 1;
                let answer = question.ask(&mut wire, &site.host);
                assert!(
                    question.is_passed_on(&answer),
                    "{question} is allowed by the rules and was not let in by nginx, which said {answer}\n\
                     --- the site (NGINX_SEED={seed}, batch {batch})\n{}\n{}\n--- the rules\n{toml}",
                    site.text,
                    site.files(stage.folder()),
                );
            }
        }
    }
    // Rules that allow nothing would pass as well.
    assert!(asked * 20 > closed, "only {asked} requests were allowed, {closed} were not");
}

/// Starts an nginx with these sites, and a server behind them that answers with the request that it received.
fn start(stage: &ServerDir, address: std::net::SocketAddr, common: &str, sites: &[RandomSite]) -> Daemon {
    let folder = stage.folder().display().to_string();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/tmp-{kind};\n"))
        .concat();
    let own = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let servers: String = sites.iter().map(|site| site.server.replace(site::LISTEN, &address.to_string())).collect();
    let text = format!(
        "{own} worker_processes 1; events {{}}\nhttp {{\n{temporary}access_log off; server_names_hash_max_size 8192;\n\
         keepalive_requests 100000000; keepalive_time 10h; proxy_http_version 1.1; proxy_set_header Connection '';\n\
         ssl_certificate {folder}/certs/server.crt; ssl_certificate_key {folder}/certs/server.key;\n\
         upstream backend {{ server unix:{folder}/backend.sock; keepalive 4; }}\n{common}\n\
         server {{ listen unix:{folder}/backend.sock; auth_basic off; auth_request off; allow all; satisfy all;\n\
         location / {{ add_header X-Seen \"$request_method $request_uri\" always; return 200 ok; }} }}\n{servers}\n}}\n"
    );
    let _ = fs::remove_file(stage.path("backend.sock"));
    let file = stage.write("nginx.conf", &text);
    let mut command = Command::new(require("nginx"));
    command.arg("-p").arg(&folder).arg("-c").arg(file).arg("-e").arg("stderr");
    command.arg("-g").arg(format!("daemon off; pid {folder}/nginx.pid;"));
    let mut nginx = Daemon::start(command, stage.path("nginx.log"));
    nginx.wait_until(|| std::net::TcpStream::connect(address).is_ok());
    nginx
}

/// The migrated text of a site, the content of its users file, and its rules; `None` if it passes no request on.
fn rules(stage: &ServerDir, text: &str) -> Option<(String, String, Policy)> {
    let migrated =
        match migrate_with(MigrationSource::Nginx, "site.conf", text, &ServerDirFiles(stage.folder().to_owned())) {
            Ok(migrated) => migrated,
            Err(broken) if broken.reason.starts_with("there is no server in it that passes requests on") => {
                return None;
            }
            Err(broken) => panic!("{broken}\n{text}"),
        };
    let file = stage.write("migrated.toml", &migrated.toml);
    let loaded = config::load(&Flags { config: Some(file), ..Flags::default() }, [], None)
        .unwrap_or_else(|problems| panic!("{problems}\n{}\n{text}", migrated.toml));
    let users = fs::read_to_string(&loaded.config.auth.htpasswd).unwrap_or_default();
    Some((migrated.toml, users, loaded.config.policy))
}

/// The files of a stage.
struct ServerDirFiles(PathBuf);

impl IncludeFiles for ServerDirFiles {
    fn read(&self, path: &Path) -> Option<String> {
        fs::read_to_string(path).ok()
    }

    fn list(&self, folder: &Path) -> Option<Vec<String>> {
        let names = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().file_name());
        Some(names.filter(|name| !name.as_bytes().is_empty()).map(|name| name.into_string().unwrap()).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn folder(&self) -> PathBuf {
        self.0.clone()
    }
}
