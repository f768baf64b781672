//! Tests included files, and the output of `nginx -T`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        super::{
            Migrated, MigrationSource, migrate_with,
            tests::{allowed_actions, migrated, remarks, site},
        },
        IncludeFiles,
    },
    PASS, assert_rights,
};

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
