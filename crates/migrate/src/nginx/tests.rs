//! Tests the migration of nginx sites; each test is named after a configuration that could be migrated wrongly.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        Migrated, MigrationSource, migrate_with,
        tests::{allowed_actions, load, migrated, remarks, site},
    },
    IncludeFiles,
};

const PASS: &str = "proxy_pass http://r:5000;";

fn rights(inside: &str, user: &str, repository: &str) -> String {
    allowed_actions(&migrated(MigrationSource::Nginx, &site(inside)).toml, user, repository)
}

/// Asserts what a signed-in user may do in each repository.
fn assert_rights(inside: &str, expected: &[(&str, &str)]) {
    for (repository, actions) in expected {
        assert_eq!(rights(inside, "bob", repository), *actions, "{repository} in {inside}");
    }
}

#[test]
fn a_condition_in_a_location_that_patterns_cannot_say_does_not_get_lost() {
    for condition in [
        "if ($remote_user != admin) { return 403; }",
        "allow 10.0.0.0/8; deny all;",
        "deny all;",
        "auth_request /auth;",
        "auth_basic_user_file /others;",
        "access_by_lua_file /x.lua;",
        "return 403;",
    ] {
        let inside = format!("location ~ ^/v2/([a-z]+)-internal/ {{ {condition} {PASS} }} location /v2/ {{ {PASS} }}");
        assert_rights(
            &inside,
            &[
                ("team-internal/x", ""),
                ("team-internal/x/y", ""),
                ("team/x", "pull,push"),
                ("a/b-internal/x", "pull,push"),
            ],
        );
        for remark in remarks(&migrated(MigrationSource::Nginx, &site(&inside))) {
            assert!(!remark.contains("no rule gives more than this location"), "{remark}");
        }
    }
}

#[test]
fn a_condition_that_may_apply_anywhere_closes_everything() {
    for location in [r"~ ^/v2/\x74eam/", "~ ^/v2/(?!public/)", "~ secret", r"~ ^/v2/.*/manifests/", "~* ^/v2/[A-Z]+/"] {
        let inside = format!("location {location} {{ deny all; {PASS} }} location / {{ {PASS} }}");
        assert_rights(&inside, &[("team/x", ""), ("public", "")]);
    }
}

#[test]
fn a_location_about_a_part_of_a_repository_closes_that_repository_alone() {
    let inside = format!("location /v2/team/app/manifests/ {{ deny all; }} location /v2/ {{ {PASS} }}");
    assert_rights(
        &inside,
        &[("team/app", ""), ("team/app/manifests/x", ""), ("team/app/x", "pull,push"), ("team", "pull,push")],
    );
    let inside = format!("location = /v2/app/tags/list {{ deny all; }} location /v2/ {{ {PASS} }}");
    assert_rights(&inside, &[("app", ""), ("app/x", "pull,push")]);
}

#[test]
fn expressions_go_before_prefixes_and_not_before_final_ones() {
    let inside = format!(
        "location / {{ {PASS} }} location ~ ^/v2/a/ {{ return 403; }} location ^~ /v2/a/b/ {{ {PASS} }} \
         location /v2/a/c/ {{ {PASS} }}"
    );
    assert_rights(&inside, &[("a/b/x", "pull,push"), ("a/c/x", ""), ("a/x", ""), ("x", "pull,push")]);
}

#[test]
fn a_location_within_another_goes_before_expressions_beside_it() {
    let inside = format!(
        "location /v2/ {{ {PASS} location ~ ^/v2/a/ {{ deny all; {PASS} }} }} location ~ ^/v2/a/b/ {{ {PASS} }} \
         location ~ ^/v2/c/ {{ location ~ ^/v2/c/d/ {{ deny all; {PASS} }} {PASS} }}"
    );
    assert_rights(&inside, &[("a/b/x", ""), ("a/x", ""), ("c/d/x", ""), ("c/x", "pull,push"), ("x", "pull,push")]);
}

#[test]
fn head_is_excepted_by_its_own_name_and_methods_are_written_in_any_case() {
    let inside = format!("auth_basic r; location / {{ limit_except HEAD {{ auth_basic off; }} {PASS} }}");
    assert_eq!(rights(&inside.replace("auth_basic r; ", ""), "", "x"), "", "HEAD asks for a password");
    let inside = format!("location / {{ limit_except get {{ auth_basic off; }} {PASS} }}");
    assert_eq!(rights(&inside, "", "x"), "", "GET asks for a password");
}

#[test]
fn what_only_an_if_passes_on_is_not_open() {
    let inside = format!("location / {{ if ($request_method ~ ^(GET|HEAD)$) {{ {PASS} }} }}");
    assert_rights(&inside, &[("x", "")]);
}

#[test]
fn a_redirect_is_no_permission() {
    assert_rights(
        &format!("location / {{ if ($request_method = PUT) {{ return 301 https://x/; }} {PASS} }}"),
        &[("x", "pull")],
    );
    assert_rights(&format!("if ($scheme = https) {{ return 301 https://x/; }} location / {{ {PASS} }}"), &[("x", "")]);
    assert_rights(
        &format!("if ($scheme = http) {{ return 301 https://x/; }} location / {{ {PASS} }}"),
        &[("x", "pull,push")],
    );
}

#[test]
fn a_condition_on_the_host_is_harmless_only_where_the_server_has_that_name() {
    let with = |condition: &str| format!("server_name r.test; {condition} location / {{ {PASS} }}");
    for condition in ["if ($host != r.test) { return 444; }", "if ($host !~ ^r\\.test$) { return 444; }"] {
        assert_rights(&with(condition), &[("x", "pull,push")]);
    }
    for condition in [
        "if ($host != other.test) { return 403; }",
        "if ($host = r.test) { return 403; }",
        "if ($host != other.test) { rewrite ^ /x break; }",
    ] {
        assert_rights(&with(condition), &[("x", "")]);
    }
}

#[test]
fn conditions_on_paths_close_what_they_name() {
    for condition in [
        "if ($uri ~ ^/v2/a/) { return 403; }",
        "if ($request_uri ~* ^/V2/A/) { return 403; }",
        "if ($uri = /v2/a/tags/list) { return 403; }",
        "rewrite ^/v2/a/(.*)$ /v2/b/$1 last;",
        "rewrite ^/v2/a/ /x redirect;",
        "if ($http_user_agent ~ docker) { rewrite ^/v2/a/ /x last; }",
    ] {
        let server = format!("{condition} location / {{ {PASS} }}");
        let location = format!("location / {{ {condition} {PASS} }}");
        assert_rights(&server, &[("a", ""), ("b", "pull,push")]);
        assert_rights(&location, &[("a", ""), ("b", "pull,push")]);
    }
    assert_rights(
        &format!("if ($request_uri ~ ^/v2/[^/]+-x/) {{ return 403; }} location / {{ {PASS} }}"),
        &[("a/b-x/c", "")],
    );
}

#[test]
fn repositories_that_nginx_asks_for_under_another_name_are_closed() {
    for pass in
        ["proxy_pass http://r/v2/b/;", "proxy_pass http://r/;", "proxy_pass http://r$1;", "proxy_pass http://r$uri;"]
    {
        assert_rights(
            &format!("location /v2/a/ {{ {pass} }} location / {{ {PASS} }}"),
            &[("a/x", ""), ("x", "pull,push")],
        );
    }
    for pass in
        ["proxy_pass http://r/v2/a/;", "proxy_pass http://r$request_uri;", "proxy_pass http://unix:/run/r.sock;"]
    {
        assert_rights(&format!("location /v2/a/ {{ {pass} }} location / {{ {PASS} }}"), &[("a/x", "pull,push")]);
    }
}

#[test]
fn an_internal_location_is_closed_with_those_within_it() {
    assert_rights(
        &format!("location /v2/ {{ internal; location /v2/a/ {{ {PASS} }} {PASS} }}"),
        &[("a/x", ""), ("x", "")],
    );
}

#[test]
fn directives_that_are_not_known_may_refuse() {
    assert_rights(&format!("modsecurity on; location / {{ {PASS} }}"), &[("x", "")]);
    assert_rights(
        &format!("location /v2/a/ {{ testcookie on; {PASS} }} location / {{ {PASS} }}"),
        &[("a", ""), ("x", "pull,push")],
    );
    assert_rights(&format!("gzip off; proxy_buffering off; location / {{ {PASS} }}"), &[("x", "pull,push")]);
}

#[test]
fn a_users_file_that_depends_on_the_request_lets_nobody_in() {
    assert_rights(&format!("location / {{ auth_basic_user_file /etc/$host; {PASS} }}"), &[("x", "")]);
}

/// A file system in memory: texts by path, and the directory of the main file.
struct MemoryFiles {
    folder: &'static str,
    files: BTreeMap<PathBuf, String>,
}

impl IncludeFiles for MemoryFiles {
    fn read(&self, path: &Path) -> Option<String> {
        self.files.get(path).cloned()
    }

    fn list(&self, folder: &Path) -> Option<Vec<String>> {
        let below = self.files.keys().filter_map(|path| path.strip_prefix(folder).ok());
        let names: Vec<String> = below.filter_map(|rest| Some(rest.iter().next()?.to_str()?.to_owned())).collect();
        (!names.is_empty()).then_some(names)
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from(self.folder)
    }
}

fn memory(folder: &'static str, files: &[(&str, &str)]) -> MemoryFiles {
    MemoryFiles { folder, files: files.iter().map(|(name, text)| (PathBuf::from(name), (*text).to_owned())).collect() }
}

fn dump(files: &[(&str, &str)]) -> String {
    let file = |(name, text): &(&str, &str)| ["# configuration file ", name, ":\n", text, "\n"].concat();
    files.iter().map(file).collect()
}

/// A configuration with two sites, of which the registry's includes files.
fn sites() -> [(&'static str, &'static str); 5] {
    [
        ("/etc/nginx/nginx.conf", "events {}\nhttp {\n include sites-enabled/*;\n include none/*.conf;\n}\n"),
        (
            "/etc/nginx/sites-enabled/registry",
            "server {\n listen 443 ssl;\n server_name registry.example.com;\n include snippets/auth.conf;\n\
             location /v2/ { proxy_pass http://127.0.0.1:5000; }\n include /etc/nginx/closed/[a-c]*.conf; }\n",
        ),
        ("/etc/nginx/snippets/auth.conf", "auth_basic r;\nauth_basic_user_file registry.htpasswd;\n"),
        ("/etc/nginx/closed/a.conf", "location /v2/a/ { deny all; proxy_pass http://127.0.0.1:5000; }\n"),
        (
            "/etc/nginx/sites-enabled/wiki",
            "server { listen 443 ssl; auth_basic w; auth_basic_user_file wiki.htpasswd; location / { proxy_pass http://w; } }\n",
        ),
    ]
}

fn read(name: &str, text: &str, files: &dyn IncludeFiles) -> Migrated {
    migrate_with(MigrationSource::Nginx, name, text, files).unwrap_or_else(|broken| panic!("{broken}"))
}

#[test]
fn what_nginx_prints_and_what_lies_on_the_disk_become_the_same() {
    let printed = read("/dev/stdin", &dump(&sites()), &memory("/dev", &[]));
    let disk = memory("/etc/nginx/sites-enabled", &sites());
    let site = read("/etc/nginx/sites-enabled/registry", sites()[1].1, &disk);
    for migrated in [&printed, &site] {
        assert!(migrated.toml.contains("registry.htpasswd\""), "{}", migrated.toml);
        assert!(!migrated.toml.contains("wiki.htpasswd"), "{}", migrated.toml);
        assert_eq!(allowed_actions(&migrated.toml, "bob", "x"), "pull,push");
        assert_eq!(allowed_actions(&migrated.toml, "bob", "a/x"), "");
        assert!(!remarks(migrated).iter().any(|remark| remark.contains("include")), "{:#?}", remarks(migrated));
    }
    let without_head = |toml: &str| toml.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(
        without_head(&printed.toml).iter().filter(|line| !line.contains("htpasswd")).collect::<Vec<_>>(),
        without_head(&site.toml).iter().filter(|line| !line.contains("htpasswd")).collect::<Vec<_>>(),
    );
    assert!(printed.toml.contains("# /etc/nginx/snippets/auth.conf:2: auth_basic_user_file"), "{}", printed.toml);
}

#[test]
fn what_nginx_conf_says_around_a_site_holds_for_it() {
    let site = "server { listen 443 ssl; location /v2/ { proxy_pass http://127.0.0.1:5000; } }\n";
    for (around, actions) in [("auth_basic r; auth_basic_user_file users;", "pull,push"), ("deny all;", ""), ("", "")] {
        let main = format!("events {{}}\nhttp {{ {around} include sites/*; }}\n");
        let files = [("/etc/nginx/nginx.conf", main.as_str()), ("/etc/nginx/sites/registry", site)];
        for migrated in [
            read("/etc/nginx/sites/registry", site, &memory("/etc/nginx/sites", &files)),
            read("/dev/stdin", &dump(&files), &memory("/dev", &[])),
        ] {
            assert_eq!(allowed_actions(&migrated.toml, "bob", "x"), actions, "{around}\n{}", migrated.toml);
        }
    }
}

#[test]
fn a_users_file_of_another_site_in_the_output_of_nginx_lets_nobody_in() {
    let text = dump(&[
        ("/w/nginx.conf", "events {}\nhttp {\n include /w/registry.site;\n include /w/wiki.site;\n}\n"),
        ("/w/registry.site", "server { listen 443 ssl; location /v2/ { proxy_pass http://127.0.0.1:5000; } }\n"),
        ("/w/wiki.site", "server { listen 443 ssl; include /w/auth.conf; location / { proxy_pass http://w; } }\n"),
        ("/w/auth.conf", "auth_basic w; auth_basic_user_file /etc/nginx/wiki.htpasswd;\n"),
    ]);
    let migrated = read("/dev/stdin", &text, &memory("/dev", &[]));
    assert!(!migrated.toml.contains("wiki"), "{}", migrated.toml);
    assert_eq!(
        (allowed_actions(&migrated.toml, "bob", "x"), allowed_actions(&migrated.toml, "", "x")),
        (String::new(), String::new())
    );
}

#[test]
fn an_include_that_cannot_be_read_closes_what_it_is_in() {
    let inside = format!("include missing.conf; location /v2/ {{ {PASS} }}");
    assert_rights(&inside, &[("x", "")]);
    let inside = format!("location /v2/a/ {{ include missing.conf; {PASS} }} location /v2/ {{ {PASS} }}");
    assert_rights(&inside, &[("a", ""), ("x", "pull,push")]);
    let toml =
        migrated(MigrationSource::Nginx, &format!("include mime.types; {}", site(&format!("location / {{ {PASS} }}"))))
            .toml;
    assert_eq!(allowed_actions(&toml, "bob", "x"), "pull,push", "what comes with nginx restricts nothing");
}

#[test]
fn a_file_that_nothing_includes_is_not_passed_over_in_silence() {
    let broken = |files: &[(&str, &str)]| {
        migrate_with(MigrationSource::Nginx, "d", &dump(files), &memory("/", &[]))
            .expect_err("this is not whole")
            .to_string()
    };
    let main = ("/n/nginx.conf", "http { include a; }\n");
    let lost =
        broken(&[main, ("/n/a", "server { location / { proxy_pass http://r:5000; } }\n"), ("/n/b", "deny all;\n")]);
    assert_eq!(lost, "/n/b is printed, and nothing includes it");
    assert!(broken(&[main, ("/n/a", ""), ("/n/a", "")]).ends_with("/n/a is printed twice"));
    assert_eq!(broken(&[main, ("/n/a", "\nserver {\n")]), "/n/a:2: a block that is not closed by }");
    assert!(broken(&[main, ("/n/a", "include a;\n")]).contains("without end"));
}

#[test]
fn of_two_sites_that_both_may_be_the_registry_none_is_taken() {
    let text = "server { listen 443 ssl; auth_basic r; auth_basic_user_file /a; location / { proxy_pass http://a; } }\n\
                server { listen 443 ssl; auth_basic r; auth_basic_user_file /b; location / { proxy_pass http://b; } }\n";
    let broken = migrate_with(MigrationSource::Nginx, "old", text, &memory("/", &[])).expect_err("this is a guess");
    assert_eq!(broken.to_string(), "the servers in old:1 and old:2 both may be the registry's");
    let named = text.replace("http://b;", "http://127.0.0.1:5000;");
    assert!(migrated(MigrationSource::Nginx, &named).toml.contains("htpasswd = \"/b\""));
}

#[test]
fn certificates_of_clients_open_connections_and_name_no_user() {
    let config = |more: &str| {
        let text = site(&format!("ssl_client_certificate /ca; {more} location / {{ {PASS} }}"));
        let migrated = migrated(MigrationSource::Nginx, &text);
        let messages = remarks(&migrated).join("\n");
        assert!(!messages.contains("not asked for") || more.contains("no_ca"), "{messages}");
        (load(&migrated.toml).config.tls.client, allowed_actions(&migrated.toml, "bob", "x"))
    };
    let open = "pull,push".to_owned();
    for (more, mode) in [
        ("ssl_verify_client on; ssl_crl /crl;", Some((portcullis_tls::ClientMode::Required, true))),
        ("ssl_verify_client optional;", Some((portcullis_tls::ClientMode::Optional, false))),
        (
            "ssl_verify_client optional; if ($ssl_client_verify != SUCCESS) { return 403; }",
            Some((portcullis_tls::ClientMode::Required, false)),
        ),
        ("ssl_verify_client optional_no_ca;", None),
        ("ssl_verify_client off;", None),
    ] {
        let (client, actions) = config(more);
        let seen = client.map(|client| {
            assert_eq!((client.ca.as_path(), client.user), (Path::new("/ca"), portcullis_tls::ClientUser::NoUser));
            (client.mode, client.crl.is_some())
        });
        assert_eq!((seen, &actions), (mode, &open), "{more}");
    }
    let closed = config("ssl_verify_client on; ssl_ocsp on;").1;
    assert_eq!(closed, "", "revocation that is asked elsewhere is not carried over");
}

#[test]
fn clients_without_the_certificate_that_some_location_wants_are_not_let_in_there() {
    let inside = format!(
        "ssl_client_certificate /ca; ssl_verify_client optional; location / {{ {PASS} }} \
         location /v2/a/ {{ if ($ssl_client_verify != SUCCESS) {{ return 403; }} {PASS} }}"
    );
    assert_rights(&inside, &[("a", ""), ("x", "pull,push")]);
}

#[test]
fn load_balancers_in_front_are_trusted_as_before() {
    let server = |more: &str, listen: &str| {
        let text = site(&format!("{more} location / {{ {PASS} }}")).replace("443 ssl;", &format!("443 ssl {listen};"));
        let migrated = migrated(MigrationSource::Nginx, &text);
        let proxies = load(&migrated.toml).config.server.trusted_proxies;
        (proxies.subnets.len(), proxies.uses_proxy_protocol, remarks(&migrated).join("\n"))
    };
    let (trusted, protocol, _) =
        server("set_real_ip_from 10.1.2.3/8; set_real_ip_from 10.0.0.0/8; real_ip_header X-Forwarded-For;", "");
    assert_eq!((trusted, protocol), (1, false));
    let (trusted, protocol, _) = server("set_real_ip_from 10.0.0.1; real_ip_header proxy_protocol;", "proxy_protocol");
    assert_eq!((trusted, protocol), (1, true));
    let (trusted, _, messages) = server("set_real_ip_from 10.0.0.1;", "");
    assert!(
        trusted == 0 && messages.contains("X-Real-IP is not read"),
        "clients could write X-Forwarded-For: {messages}"
    );
    let (trusted, protocol, messages) = server("", "proxy_protocol");
    assert!(trusted == 0 && !protocol && messages.contains("trusted_proxies"), "{messages}");
}

#[test]
fn servers_that_differ_by_their_certificates_alone_become_one() {
    let server = |name: &str, location: &str| {
        format!(
            "server {{ listen 443 ssl; server_name {name}; ssl_certificate /{name}.crt; ssl_certificate_key /{name}.key; \
             auth_basic r; auth_basic_user_file /u; location /v2/ {{ {location} {PASS} }} }}\n"
        )
    };
    let text = [server("a.example", ""), server("b.example", ""), server("c.example", "deny all;")].concat();
    let migrated = migrated(MigrationSource::Nginx, &text);
    let config = load(&migrated.toml).config;
    assert_eq!(config.tls.hostnames.len(), 2);
    let portcullis_tls::CertificateSource::Files { additional: more, .. } = config.tls.source else {
        panic!("{}", migrated.toml)
    };
    assert_eq!(more.iter().map(|pair| pair.certificate.display().to_string()).collect::<Vec<_>>(), ["/b.example.crt"]);
    let messages = remarks(&migrated).join("\n");
    assert!(
        messages.contains("server c.example: not carried over") && !messages.contains("server b.example"),
        "{messages}"
    );
}

#[test]
fn a_server_with_two_certificates_keeps_both() {
    let text = site(&format!(
        "ssl_certificate /rsa.crt; ssl_certificate_key /rsa.key; ssl_certificate /ec.crt; ssl_certificate_key /ec.key; \
         location / {{ {PASS} }}"
    ));
    let toml = migrated(MigrationSource::Nginx, &text).toml;
    let portcullis_tls::CertificateSource::Files { certificate, additional: more, .. } = load(&toml).config.tls.source
    else {
        panic!("{toml}")
    };
    assert_eq!((certificate.as_path(), more[0].key.as_path()), (Path::new("/rsa.crt"), Path::new("/ec.key")));
}

/// Whether signed-in users may pull and push after the migration of a site with these lines in its server and in its
/// location for the registry.
fn passes_on(server: &str, pass: &str) -> bool {
    let text = site(&format!("{server} location /v2/ {{ {pass} }}"));
    allowed_actions(&migrated(MigrationSource::Nginx, &text).toml, "bob", "team/app") == "pull,push"
}

#[test]
fn a_server_that_the_request_chooses_lets_no_one_in() {
    assert!(passes_on("", "proxy_pass http://registry:5000;"));
    assert!(passes_on("", "proxy_pass http://registry:5000$request_uri;"));
    assert!(passes_on("", "set $up registry:5000; proxy_pass http://$up;"));
    assert!(passes_on("set $up http://registry:5000;", "proxy_pass $up;"));
    for (server, pass) in [
        ("", "proxy_pass http://$up;"),
        ("", "proxy_pass http://${up}:5000;"),
        ("set $up registry:5000; if ($remote_user = bob) { set $up 127.0.0.1:1; }", "proxy_pass http://$up;"),
        ("set $up $remote_user;", "proxy_pass http://$up;"),
        ("set $up http://registry:5000/other;", "proxy_pass $up;"),
        ("", "if ($remote_user = bob) { proxy_pass http://127.0.0.1:1; } proxy_pass http://registry:5000;"),
        ("", "proxy_pass http://registry:5000$uri;"),
    ] {
        assert!(!passes_on(server, pass), "{server} {pass}");
    }
}
