//! Compares nginx and docker-registry with the migrated configuration: the same users may do the same things.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::daemon::Daemon;
use crate::support::portcullis_server::{ALICE, BOB, TestUser};
use crate::support::server_dir::basic_authorization;
use crate::support::tool_command::require;
use crate::support::wire_connection::{WireConnection, WireResponse, request};
use crate::support::{ServerDir, ToolCommand, free_port, nginx};

/// A stage with certificates, and users whose hashes nginx, docker-registry and this server accept.
fn with_users_and_certificates() -> ServerDir {
    let stage = ServerDir::without_files();
    drop(stage.start());
    stage.users(&[ALICE, BOB]);
    stage
}

fn ask(stage: &ServerDir, method: &str, path: &str, header: &[&str]) -> WireResponse {
    let mut wire = WireConnection::open(stage.address(), &stage.path("certs/ca.crt")).unwrap();
    wire.send(&request(method, path, header, b""));
    wire.response_to(method)
}

/// The callers: with the right password, with a wrong one, without any.
const WRONG: TestUser = TestUser { name: "alice", password: "looking glass" };
const CALLERS: [(&str, Option<&TestUser>); 4] =
    [("alice", Some(&ALICE)), ("bob", Some(&BOB)), ("a guesser", Some(&WRONG)), ("anonymous", None)];

/// The access matrix of the server on the stage: one line for each caller, action and repository.
fn matrix(
    stage: &ServerDir,
    repositories: &[&str],
    header: &dyn Fn(Option<&TestUser>, &str) -> Vec<String>,
) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, user) in CALLERS {
        // After ten wrong passwords, answers would be delayed.
        let some = if name == "a guesser" { &repositories[..2] } else { repositories };
        for repository in some {
            let header = header(user, repository);
            let header: Vec<&str> = header.iter().map(String::as_str).collect();
            let missing = format!("sha256:{}", "0".repeat(64));
            for (action, method, path) in [
                ("pull", "GET", format!("/v2/{repository}/blobs/{missing}")),
                ("push", "POST", format!("/v2/{repository}/blobs/uploads/")),
                ("delete", "DELETE", format!("/v2/{repository}/manifests/{missing}")),
            ] {
                let answer = ask(stage, method, &path, &header);
                let verdict = match answer.status {
                    202 | 404 => "may",
                    401 | 403 | 405 => "may not",
                    _ => panic!("{name} {action} {repository}: {answer}"),
                };
                lines.push(format!("{name} {verdict} {action} {repository}"));
            }
        }
    }
    lines
}

fn password(user: Option<&TestUser>) -> Vec<String> {
    user.map(basic_authorization).into_iter().collect()
}

/// Starts a server with the migrated configuration in the place of the other, and returns its access matrix.
/// Anonymous rights need a token here, as clients fetch it.
fn migrated(stage: &ServerDir, origin: &str, file: &str, repositories: &[&str]) -> Vec<String> {
    let said = stage.portcullis_command().args(["migrate", origin, file]).run_ok();
    stage.write("portcullis.toml", &said.stdout);
    let _server = stage.start();
    let header = |user: Option<&TestUser>, repository: &str| {
        if user.is_some() {
            return password(user);
        }
        let path = format!("/token?service=localhost&scope=repository:{repository}:pull,push,delete");
        let token = ask(stage, "GET", &path, &[]).expect(200).json();
        vec![format!("Authorization: Bearer {}", token["token"].as_str().unwrap())]
    };
    matrix(stage, repositories, &header)
}

fn registry(stage: &ServerDir, port: u16, more: &str) -> Daemon {
    let text = format!(
        "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
         storage:\n  filesystem: {{rootdirectory: '{}'}}\n{more}",
        stage.path("data").display()
    );
    let config = stage.write("config.yml", &text);
    let mut command = Command::new(require("docker-registry"));
    command.arg("serve").arg(&config);
    let mut daemon = Daemon::start(command, stage.path("registry.log"));
    daemon.wait_until(|| std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    daemon
}

#[test]
fn a_registry_with_its_own_users_is_replaced_without_anybody_noticing() {
    for (deleting, delete) in [("may not", ""), ("may", "  delete: {enabled: true}\n")] {
        let stage = with_users_and_certificates();
        let path = |name: &str| stage.path(name).display().to_string();
        let more = format!(
            "{delete}auth: {{htpasswd: {{realm: test, path: '{}'}}}}\n\
             http: {{addr: '{}', tls: {{certificate: '{}', key: '{}'}}}}\n",
            path("htpasswd"),
            stage.address(),
            path("certs/server.crt"),
            path("certs/server.key"),
        );
        let old = registry(&stage, stage.port(), &more);
        let repositories = ["app", "team/app"];
        let before = matrix(&stage, &repositories, &|user, _| password(user));
        drop(old);
        assert!(before.contains(&format!("alice {deleting} delete app")), "{before:#?}");
        assert!(before.contains(&"alice may push app".to_owned()), "{before:#?}");
        assert!(before.contains(&"anonymous may not pull app".to_owned()), "{before:#?}");
        assert_eq!(migrated(&stage, "registry", "config.yml", &repositories), before);
    }
}

#[test]
fn a_site_of_nginx_is_replaced_without_anybody_noticing() {
    let stage = with_users_and_certificates();
    let behind = free_port::free();
    let behind_it = registry(&stage, behind, &format!("http: {{addr: '127.0.0.1:{behind}'}}\n"));
    let folder = stage.folder().display().to_string();
    let pass = format!("proxy_pass http://127.0.0.1:{behind}; proxy_set_header Host $http_host;");
    let inside = format!(
        "auth_basic r;\n auth_basic_user_file {folder}/htpasswd;\n\
         location /v2/ {{ {pass} }}\n\
         location /v2/public/ {{ auth_basic off; limit_except GET HEAD {{ auth_basic r; }} {pass} }}\n\
         location /v2/frozen/ {{ limit_except GET {{ deny all; }} {pass} }}\n\
         location /v2/closed/ {{ deny all; {pass} }}\n\
         location ~ ^/v2/old/ {{ if ($request_method !~ ^(GET|HEAD)$) {{ return 403; }} {pass} }}"
    );
    let site = nginx::start(&stage, stage.address(), &inside);
    let repositories = ["app", "public/app", "frozen/app", "closed/app", "old/app"];
    let before = matrix(&stage, &repositories, &|user, _| password(user));
    drop(site);
    for line in
        ["bob may push app", "anonymous may pull public/app", "alice may not push frozen/app", "alice may pull old/app"]
    {
        assert!(before.contains(&line.to_owned()), "{line}: {before:#?}");
    }
    // nginx does not check passwords where it requires none; this server refuses wrong ones everywhere.
    let before: Vec<String> = before
        .into_iter()
        .map(|line| if line == "a guesser may pull public/app" { line.replace("may", "may not") } else { line })
        .collect();
    drop(behind_it);
    assert_eq!(migrated(&stage, "nginx", "nginx.conf", &repositories), before);
}

#[test]
fn nginx_itself_reads_the_sites_that_we_read() {
    for file in ["nginx.conf", "nginx-public.conf"] {
        let stage = with_users_and_certificates();
        let input = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/migrate").join(file);
        let mut text = fs::read_to_string(input).unwrap();
        let certs = stage.path("certs").display().to_string();
        // Its files belong to other machines, and its ports need root.
        for name in ["/etc/nginx/tls/wiki", "/etc/ssl/hub"] {
            text = text.replace(&format!("{name}.crt"), &format!("{certs}/server.crt"));
        }
        for (old, new) in [
            ("/etc/nginx/tls/wiki.key", "server.key"),
            ("/etc/ssl/private/hub.key", "server.key"),
            ("/etc/letsencrypt/live/registry.example.com/fullchain.pem", "server.crt"),
            ("/etc/letsencrypt/live/registry.example.com/privkey.pem", "server.key"),
            ("/etc/ssl/clients.crt", "ca.crt"),
        ] {
            text = text.replace(old, &format!("{certs}/{new}"));
        }
        let (secure, plain) = (free_port::free(), free_port::free());
        text = text
            .replace("listen 443", &format!("listen 127.0.0.1:{secure}"))
            .replace("listen [::]:443", &format!("listen [::1]:{secure}"));
        text = text
            .replace("listen 80", &format!("listen 127.0.0.1:{plain}"))
            .replace("listen [::]:80", &format!("listen [::1]:{plain}"));
        if !text.contains("http {") {
            text = format!("events {{}}\nhttp {{\n{text}}}\n");
        }
        stage.write("nginx.conf", &text);
        stage.write("mime.types", "types {}\n");
        fs::create_dir_all(stage.path("snippets")).unwrap();
        stage.write("snippets/headers.conf", "add_header X-Frame-Options DENY;\n");
        let tested =
            ToolCommand::new("nginx").arg("-t").arg("-p").arg(stage.folder()).arg("-c").arg(stage.path("nginx.conf"));
        let tested = tested.args(["-e", "stderr", "-g"]).arg(format!("pid {}/nginx.pid;", stage.folder().display()));
        tested.run_ok().assert_prints_one_of(&["test is successful"]);
    }
}

/// Migrates `nginx -T` by standard input, as the guide says.
#[test]
fn what_nginx_prints_of_two_sites_becomes_what_the_site_alone_becomes() {
    let stage = with_users_and_certificates();
    let folder = stage.folder().display().to_string();
    for name in ["sites", "snippets"] {
        fs::create_dir_all(stage.path(name)).unwrap();
    }
    let tls = format!("ssl_certificate {folder}/certs/server.crt; ssl_certificate_key {folder}/certs/server.key;");
    let site = |name: &str, inside: &str| {
        format!("server {{ listen 127.0.0.1:{} ssl; server_name {name}.test;\n{tls}\n{inside}\n}}\n", stage.port())
    };
    stage.write("nginx.conf", "events {}\nhttp {\n include sites/*.conf;\n include none/*.conf;\n}\n");
    let inside = "include snippets/auth.conf; location /v2/ { proxy_pass http://127.0.0.1:5000; } include snippets/[a-c]*.rules;";
    stage.write("sites/registry.conf", &site("registry", inside));
    let inside =
        format!("auth_basic w; auth_basic_user_file {folder}/wiki; location / {{ proxy_pass http://127.0.0.1:8; }}");
    stage.write("sites/wiki.conf", &site("wiki", &inside));
    stage.write("snippets/auth.conf", "auth_basic r; auth_basic_user_file htpasswd;\n");
    stage.write("snippets/closed.rules", "location /v2/closed/ { deny all; }\n");

    let printed = ToolCommand::new("nginx").args([
        "-T",
        "-e",
        "stderr",
        "-p",
        &folder,
        "-c",
        &format!("{folder}/nginx.conf"),
        "-g",
    ]);
    let printed = printed.arg(format!("pid {folder}/nginx.pid;")).run_ok().stdout;
    let settings = |tool: ToolCommand| -> Vec<String> {
        let said = tool.run_ok();
        assert!(!said.stderr.contains("include"), "{said}");
        said.stdout.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
    };
    let whole = settings(stage.portcullis_command().args(["migrate", "nginx", "/dev/stdin"]).input(&printed));
    let alone = settings(stage.portcullis_command().args(["migrate", "nginx", "sites/registry.conf"]));
    assert_eq!(whole, alone);
    assert!(whole.contains(&format!("htpasswd = \"{folder}/htpasswd\"")), "{whole:#?}");
    assert!(whole.contains(&"repositories = [\"closed/**\"]".to_owned()), "{whole:#?}");
}
