//! Compares random configurations with Debian's docker-registry: migrated rules allow no more than it does, and files
//! that it does not start from are refused or warned of.
//!
//! `MIGRATE_ROUNDS` sets the number of configurations, `MIGRATE_SEED` the seed.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use portcullis::access::{Action, Principal};
use portcullis::config::{self, Flags};
use portcullis::migrate::{MigrationSource, migrate};
use portcullis::tls::ClientMode;

use crate::support::daemon::Daemon;
use crate::support::portcullis_server::{ALICE, TestUser};
use crate::support::seeded_random::SeededRandom;
use crate::support::server_dir::basic_authorization;
use crate::support::tool_command::require;
use crate::support::wire_connection::{WireConnection, request};
use crate::support::{ServerDir, eventually, free_port};

const ROUNDS: u64 = 120;

/// Pseudorandom choices, reproducible by a seed.
struct RandomChoices(SeededRandom);

impl RandomChoices {
    fn next(&mut self) -> u64 {
        self.0.next()
    }

    /// One of the valid choices or, with this probability in percent, one of the odd ones.
    fn pick<'a>(&mut self, odd_percentage: u64, good: &[&'a str], odd: &[&'a str]) -> &'a str {
        let list = if self.next() % 100 < odd_percentage { odd } else { good };
        list[usize::try_from(self.next() % list.len() as u64).unwrap()]
    }
}

const BOOLEANS: [&str; 12] =
    ["true", "false", "y", "On", "'true'", "\"yes\"", "tRUE", "1", "~", "n", "!!str true", "NULL"];

/// The text with the placeholders for files and ports filled in.
fn filled(text: &str, stage: &ServerDir, upstream: u16) -> String {
    let folder = stage.folder().display().to_string();
    text.replace("FOLDER", &folder)
        .replace("ADDRESS", &stage.address().to_string())
        .replace("UPSTREAM", &upstream.to_string())
}

/// A random configuration. Most parts are valid, because otherwise hardly any file would start.
fn document(numbers: &mut RandomChoices) -> String {
    let mut out = String::new();
    let version =
        numbers.pick(4, &["version: 0.1", "version: '0.1'"], &["", "version: 0.2", "version: 1.0", "version: [0.1]"]);
    let _ = writeln!(out, "{version}\nx-off: &off {{enabled: false}}\nx-on: &on {{enabled: true}}");
    let level = numbers.pick(
        5,
        &["", "log: {level: info}", "log: {level: WARN}", "loglevel: error"],
        &["log: {level: trace}", "log: {formatter: XML}", "log: []"],
    );
    let _ = writeln!(out, "{level}");
    storage(&mut out, numbers);
    let htpasswd = "auth: {htpasswd: {realm: test, path: 'FOLDER/htpasswd'}}";
    let token = "auth: {token: {realm: 'http://x/auth', service: s, issuer: i, rootcertbundle: 'FOLDER/certs/ca.crt'}}";
    let auth = numbers.pick(
        25,
        &[htpasswd, htpasswd, htpasswd, "", token],
        &[
            "auth:",
            "auth: none",
            "auth: {none: }",
            "auth: {None: {}}",
            "auth: ''",
            "auth: {silly: {realm: r, service: s}}",
            "auth: silly",
            "auth: htpasswd",
            "auth: {htpasswd: {path: 'FOLDER/htpasswd'}}",
            "auth: {htpasswd: {realm: 5, path: 'FOLDER/htpasswd'}}",
            "auth: {htpasswd: {realm: yes, path: 'FOLDER/htpasswd'}}",
            "auth: {htpasswd: {realm: r, path: 'FOLDER/htpasswd'}, none: }",
            "auth: {Htpasswd: {realm: r, path: x}}",
            "auth: [none]",
            "auth: {token: {realm: r, service: s}}",
            "auth: {htpasswd: {realm: NULL, path: 'FOLDER/htpasswd'}}",
            "auth: {htpasswd: {realm: '', path: 'FOLDER/htpasswd'}}",
            "auth: {none: }\nauth: htpasswd",
            "auth: &a {htpasswd: {realm: r, path: 'FOLDER/htpasswd'}}\nx-auth: *a",
        ],
    );
    let _ = writeln!(out, "{auth}");
    let proxy = numbers.pick(
        12,
        &["", "", "proxy: {}", "proxy: {remoteurl: ''}", "proxy:"],
        &["proxy: {remoteurl: 'http://127.0.0.1:UPSTREAM'}", "proxy: {remoteurl: [x]}", "proxy: x"],
    );
    let _ = writeln!(out, "{proxy}");
    let policy = numbers.pick(
        6,
        &["", "policy: {repository: {classes: []}}"],
        &["policy: {repository: {classes: [image]}}", "policy: {repository: {classes: image}}"],
    );
    let _ = writeln!(out, "{policy}");
    let validation = numbers.pick(
        8,
        &["", "validation: {disabled: true}", "validation: {manifests: {urls: {allow: ['^https://x/']}}}"],
        &["validation: {disabled: 'true'}", "validation: {manifests: {urls: {allow: x}}}", "validation: []"],
    );
    let _ = writeln!(out, "{validation}");
    http(&mut out, numbers);
    out
}

fn storage(out: &mut String, numbers: &mut RandomChoices) {
    let driver = numbers.pick(
        5,
        &[
            "filesystem: {rootdirectory: 'FOLDER/data'}",
            "inmemory: ",
            "inmemory: {}",
            "filesystem: {rootdirectory: 'FOLDER/data', maxthreads: '50'}",
        ],
        &[
            "filesystem: , inmemory: ",
            "Filesystem: ",
            "filesystem: {rootdirectory: 'FOLDER/data', maxthreads: many}",
            "filesystem: 'FOLDER/data'",
            "nothing: ",
            "delete: {enabled: true}",
        ],
    );
    if numbers.next().is_multiple_of(12) {
        let word = numbers.pick(30, &["inmemory", "'inmemory'"], &["Inmemory", "[inmemory]", "", "''", "~"]);
        let _ = writeln!(out, "storage: {word}");
        return;
    }
    let enabled = numbers.pick(50, &["true", "false"], &BOOLEANS);
    let delete = match numbers.next() % 8 {
        0 => String::new(),
        1 => numbers
            .pick(
                60,
                &["delete: *on", "delete: *off"],
                &[
                    "delete: {<<: *on, enabled: false}",
                    "delete: {enabled: true, <<: *off}",
                    "delete: {enabled: true, enabled: false}",
                    "delete: {enabled: false, enabled: true}",
                    "delete: {<<: [*off, *on]}",
                    "delete: true",
                    "delete: ",
                    "delete: {Enabled: true}",
                    "delete: {enabled: false, <<: *on}",
                ],
            )
            .to_owned(),
        _ => format!("delete: {{enabled: {enabled}}}"),
    };
    let readonly = numbers.pick(40, &["true", "false", "no"], &BOOLEANS);
    let purging = "uploadpurging: {enabled: true, age: 168h, interval: 24h, dryrun: false}";
    let maintenance = match numbers.next() % 8 {
        0 | 1 => format!("maintenance: {{readonly: {{enabled: {readonly}}}}}"),
        2 => format!("maintenance: {{{purging}, readonly: *off}}"),
        3 => {
            let odd = [
                "maintenance: ",
                "maintenance: {readonly: true}",
                "maintenance: {readonly: }",
                "maintenance: {readonly: {}}",
                "maintenance: {uploadpurging: {enabled: false}}",
                "maintenance: {uploadpurging: *off}",
                "maintenance: {uploadpurging: {}}",
                "maintenance: {uploadpurging: {enabled: 'false'}}",
                "maintenance: {uploadpurging: {age: 5d, interval: 24h, dryrun: false}}",
                "maintenance: {uploadpurging: {age: 24h, interval: 24h, dryrun: no}}",
                "maintenance: true",
            ];
            numbers.pick(70, &["maintenance: {readonly: *off}"], &odd).to_owned()
        }
        _ => String::new(),
    };
    let other = numbers.pick(
        6,
        &["", "cache: {blobdescriptor: inmemory}", "redirect: {disable: true}"],
        &["redirect: {disable: 'true'}", "cache: x", "cache: {blobdescriptor: redis}"],
    );
    let parts: Vec<&str> = [driver, &delete, &maintenance, other].into_iter().filter(|part| !part.is_empty()).collect();
    let _ = writeln!(out, "storage: {{{}}}", parts.join(", "));
}

fn http(out: &mut String, numbers: &mut RandomChoices) {
    let pair = "certificate: 'FOLDER/certs/server.crt', key: 'FOLDER/certs/server.key'";
    let tls = match numbers.next() % 8 {
        0 | 1 => format!("tls: {{{pair}}}"),
        2 => format!("tls: {{{pair}, clientcas: ['FOLDER/certs/ca.crt']}}"),
        3 => {
            let odd = [
                "tls: {clientcas: ['FOLDER/certs/ca.crt']}",
                "tls: {certificate: 'FOLDER/certs/server.crt'}",
                "tls: ",
                "tls: {}",
                "tls: {minimumtls: tls9}",
                "tls: {letsencrypt: {email: a@example.com, hosts: [a.example.com]}}",
                "tls: {clientcas: x}",
                "tls: {certificate: 'FOLDER/certs/server.crt', key: 'FOLDER/certs/server.key', minimumtls: tls9}",
                "tls: {certificate: 'FOLDER/certs/server.crt', key: 'FOLDER/certs/server.key', letsencrypt: {cachefile: 'FOLDER/le'}}",
            ];
            numbers.pick(90, &["tls: {minimumtls: tls1.2}"], &odd).to_owned()
        }
        _ => String::new(),
    };
    let host = numbers.pick(
        20,
        &["", "host: 'https://registry.example.com'", "host: "],
        &["host: x", "host: 'http://a b'", "host: [x]"],
    );
    let other = numbers.pick(
        6,
        &["", "secret: s", "relativeurls: true", "prefix: /p/", "http2: {disabled: true}", "net: tcp"],
        &["net: tcp4", "http2: {disabled: 'x'}", "secret: [s]"],
    );
    let parts: Vec<&str> = ["addr: 'ADDRESS'", &tls, host, other].into_iter().filter(|part| !part.is_empty()).collect();
    let _ = writeln!(out, "http: {{{}}}", parts.join(", "));
}

/// Starts docker-registry; its log as the error if it does not start.
fn start_registry(
    stage: &ServerDir,
    address: SocketAddr,
    file: &str,
    variables: &[(&str, &str)],
) -> Result<Daemon, String> {
    let mut command = Command::new(require("docker-registry"));
    command.arg("serve").arg(stage.path(file)).envs(variables.iter().copied());
    let mut daemon = Daemon::start(command, stage.path("registry.log"));
    let mut ended = false;
    let answers = eventually(Duration::from_secs(60), || {
        ended = daemon.exit_status().is_some();
        ended || TcpStream::connect(address).is_ok()
    });
    assert!(answers, "{}", daemon.log());
    if ended { Err(daemon.log()) } else { Ok(daemon) }
}

/// The status of an answer; `None` if there is no connection without a certificate.
fn status(stage: &ServerDir, is_tls: bool, method: &str, path: &str, header: &[&str]) -> Option<u16> {
    let bytes = request(method, path, header, b"");
    if is_tls {
        let mut wire = WireConnection::open(stage.address(), &stage.path("certs/ca.crt")).ok()?;
        wire.try_send(&bytes).ok()?;
        return wire.try_response_to(method).map(|answer| answer.status);
    }
    let mut socket = TcpStream::connect(stage.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    socket.write_all(&bytes).unwrap();
    let mut head = [0; 12];
    socket.read_exact(&mut head).unwrap();
    Some(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap())
}

/// The actions that docker-registry allows a caller.
fn registry_actions(stage: &ServerDir, is_tls: bool, prefix: &str, user: Option<&TestUser>) -> Vec<Action> {
    let missing = format!("sha256:{}", "0".repeat(64));
    let header: Vec<String> = user.map(basic_authorization).into_iter().collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let asked = [
        (Action::Pull, "GET", format!("{prefix}v2/team/app/blobs/{missing}")),
        (Action::Push, "POST", format!("{prefix}v2/team/app/blobs/uploads/")),
        (Action::Delete, "DELETE", format!("{prefix}v2/team/app/manifests/{missing}")),
    ];
    let is_allowed = |method: &str, path: &str| matches!(status(stage, is_tls, method, path, &header), Some(202 | 404));
    asked.into_iter().filter(|(_, method, path)| is_allowed(method, path)).map(|(action, ..)| action).collect()
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

#[test]
fn no_random_configuration_of_docker_registry_allows_more_after_its_migration() {
    let (rounds, seed) = (number("MIGRATE_ROUNDS").unwrap_or(ROUNDS), number("MIGRATE_SEED").unwrap_or(1));
    let stage = ServerDir::without_files();
    drop(stage.start());
    stage.users(&[ALICE]);
    let upstream = free_port::free();
    stage.write("upstream.yml", &format!("version: 0.1\nstorage: inmemory\nhttp: {{addr: '127.0.0.1:{upstream}'}}\n"));
    let _upstream = start_registry(&stage, SocketAddr::from(([127, 0, 0, 1], upstream)), "upstream.yml", &[]).unwrap();
    let (mut ran, mut refused, mut allowed, mut allowed_before) = (0, 0, 0, 0);
    for round in 0..rounds {
        let mut numbers = RandomChoices(SeededRandom::new(seed.wrapping_mul(1_000_003).wrapping_add(round), 0));
        let text = filled(&document(&mut numbers), &stage, upstream);
        stage.write("config.yml", &text);
        let variables: &[(&str, &str)] = match numbers.next() % 6 {
            0 => &[("REGISTRY_LOG_LEVEL", "debug")],
            1 => &[("REGISTRY_HTTP_SECRET", "x")],
            _ => &[],
        };
        let ours = migrate(MigrationSource::Registry, "config.yml", &text);
        let context = || format!("round {round} of seed {seed}:\n{text}");
        let registry = match start_registry(&stage, stage.address(), "config.yml", variables) {
            Ok(registry) => registry,
            Err(log) => {
                refused += 1;
                if let Ok(ours) = ours {
                    let says = |remark: &portcullis::migrate::Diagnostic| {
                        let remark = remark.to_string();
                        ["does not start", "a certificate needs its key", "http.host: "]
                            .iter()
                            .any(|words| remark.contains(words))
                    };
                    assert!(ours.diagnostics.iter().any(says), "docker-registry does not start: {log}\n{}", context());
                }
                continue;
            }
        };
        ran += 1;
        let ours = ours.unwrap_or_else(|broken| {
            panic!("docker-registry starts, and the migration fails: {broken}\n{}", context())
        });
        stage.write("migrated.toml", &ours.toml);
        let flags = Flags { config: Some(stage.path("migrated.toml")), ..Flags::default() };
        let config =
            config::load(&flags, [], None).unwrap_or_else(|problems| panic!("{problems}\n{}", context())).config;
        // A registry that starts with a certificate has its key as well.
        let is_tls = text.contains("certificate: ");
        let _running = registry;
        let prefix = if text.contains("prefix: /p/") { "/p/" } else { "/" };
        let demands_certificates = is_tls && status(&stage, is_tls, "GET", &format!("{prefix}v2/"), &[]).is_none();
        let demanded = config.tls.client.is_some_and(|client| client.mode == ClientMode::Required);
        assert!(
            demanded || !demands_certificates,
            "docker-registry demands certificates\n{}\n{}",
            ours.toml,
            context()
        );
        if demands_certificates {
            continue;
        }
        for (principal, user) in
            [(Principal::Anonymous, None), (Principal::User(ALICE.name.parse().unwrap()), Some(&ALICE))]
        {
            let theirs = registry_actions(&stage, is_tls, prefix, user);
            let actions = config.policy.actions(&principal, &"team/app".parse().unwrap());
            let more = actions.iter().find(|action| !theirs.contains(action));
            assert!(more.is_none(), "{principal} may {actions}, and before {theirs:?}\n{}\n{}", ours.toml, context());
            allowed += actions.iter().count();
            allowed_before += theirs.len();
        }
    }
    // If nothing started, or everything was closed, nothing was compared.
    assert!(ran * 4 > rounds && refused * 10 > rounds, "of {rounds}, {ran} started and {refused} did not");
    assert!(allowed * 3 > allowed_before, "only {allowed} of {allowed_before} answers are still a yes");
}
