//! Generates random nginx sites, with everything that `migrate nginx` reads and much that it does not support.
//!
//! Invariant: nginx itself accepts each of them, or the whole batch would not start.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::support::seeded_random::SeededRandom;

/// The placeholder for the address in a server block.
pub(super) const LISTEN: &str = "ADDRESS:443";

/// One generated site.
pub(super) struct RandomSite {
    pub(super) host: String,
    /// The server block for nginx.
    pub(super) server: String,
    /// The configuration to migrate: this server alone.
    pub(super) text: String,
    included: Vec<String>,
}

const PREFIXES: [&str; 22] = [
    "/",
    "/",
    "/v2/",
    "/v2/",
    "/v2",
    "/v2/a",
    "/v2/a/",
    "/v2/a/b/",
    "/v2/a/b",
    "/v2/b/",
    "/v2/team",
    "/v2/team/",
    "/v2/team/app/",
    "/v2/a/manifests/",
    "/v2/a/blobs/",
    "/v2/a/ma",
    "/v2/a/blobs/uploads/",
    "/v2/a/b/tags",
    "/v2/x/",
    "/v2/_catalog",
    "/ui/",
    "/v2/a-x/",
];
const EXACT: [&str; 6] = [
    "/v2/",
    "/v2/a/tags/list",
    "/v2/a/manifests/latest",
    "/v2/a/blobs/uploads/",
    "/v2/a/b/manifests/V1.x",
    "/v2/x/tags/list",
];
const EXPRESSIONS: [&str; 54] = [
    "^/v2/",
    "^/v2/a/",
    "^/v2/(a|b)/",
    "^/v2/[a-z]+-x/",
    "^/v2/([^/]+)/b/",
    "/b/",
    r"\.x",
    "^/v2/.*/manifests/",
    "^/v2/(?!a/)",
    "^/v2/[ab]+/",
    "^/v2/a(/b)?/",
    "/manifests/[^/]+$",
    "^/v2/team/.+",
    r"^/v2/\w+/\w+/\w+$",
    "^/v2/(?<n>team)/",
    "(?i)^/V2/A/",
    "latest$",
    "^/v2/a|^/v2/b",
    "^/v2/[^/]*/[^/]*/tags",
    "^/v2/a{2}/",
    "^/v2/(a/|b)+",
    "^/v2/.{1}/",
    r"/\.",
    "^/v2/[^a]",
    r"^/v2/a\b",
    "[A-Z]",
    "^/v2/TEAM/",
    "^/(v1|v2)/team",
    "^/v2/(.*)/blobs/",
    "^/v2/a",
    "^/v2/[^/]+/manifests/",
    "v2/x",
    "^/",
    r"^/v2/(?:team|x)/(app|a|b)/",
    "^/v2/a/(manifests|tags)/",
    "^/v2/([^/]+)/",
    "^/v2/[^/]+$",
    "^/v2/.+/b/",
    "^/v2/a[-/]",
    "[+-9]a",
    r"^/v2/\x61/",
    "^/v2/(team|team-x)/",
    // What PCRE may read in another way than other parsers.
    "^/v2/[--a]+x",
    "^/v2/[]-a]/b/",
    "^/v2/[+[:digit:]-]*a",
    "^/v2/[[a]/",
    "^/v2/[a&&b]+/",
    r"^/v2/[^\v0]",
    "^/v2/a{ 2 }|^/v2/b/",
    r"^/v2/[\w-]+/b",
    "^/v2/(?=a)[ab/]+tags",
    "^/v2/.*(?<!b)/manifests",
    "^/v2/a++/?(?>a|b)/",
    "(?i:^/v2/[A-B])/|/(?i)TEAM/",
];
const BELOW: [&str; 6] = ["b/", "x", "manifests/", "app/", "/b/", "blobs/uploads/"];
const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The directives that surround all sites of a batch.
pub(super) fn common(chance: &mut SeededRandom, folder: &Path) -> String {
    let mut text = String::new();
    if chance.percent(25) {
        let _ = writeln!(text, "auth_basic http; auth_basic_user_file {};", users(chance, folder));
    }
    if chance.percent(15) {
        text += addresses(chance);
    }
    if chance.percent(15) {
        text += satisfy(chance);
    }
    text
}

impl RandomSite {
    pub(super) fn random(number: usize, common: &str, chance: &mut SeededRandom, folder: &Path) -> Self {
        let host = format!("s{number}.test");
        let strictness = [15, 40, 100][chance.below(3)];
        let mut writer = SiteWriter { chance, folder, number, strictness, included: Vec::new() };
        let inside = writer.server();
        let included = writer.included;
        let server = format!(
            "server {{\nlisten {LISTEN} ssl; server_name {host};\n{inside}\n\
             location = /allowing {{ internal; return 204; }} location = /refusing {{ internal; return 403; }}\n}}\n"
        );
        let text = format!("http {{\n{common}{}}}\n", server.replace(LISTEN, "443"));
        Self { host, server, text, included }
    }

    /// The texts of the included files, for failure messages.
    pub(super) fn files(&self, folder: &Path) -> String {
        let one =
            |name: &String| [name, ":\n", &fs::read_to_string(folder.join(name)).unwrap_or_default(), "\n"].concat();
        self.included.iter().map(one).collect()
    }
}

fn users(chance: &mut SeededRandom, folder: &Path) -> String {
    let name = if chance.percent(85) { "users" } else { "others" };
    folder.join(name).display().to_string()
}

fn addresses(chance: &mut SeededRandom) -> &'static str {
    chance.one_of(&[
        "deny all;\n",
        "allow all;\n",
        "allow 127.0.0.1; deny all;\n",
        "deny 127.0.0.1;\n",
        "allow 10.0.0.0/8; deny all;\n",
        "allow all; deny all;\n",
        "deny all; allow all;\n",
        "allow 10.0.0.1;\n",
        "deny 10.0.0.1; allow all;\n",
    ])
}

fn satisfy(chance: &mut SeededRandom) -> &'static str {
    chance.one_of(&["satisfy any;\n", "satisfy any;\n", "satisfy all;\n"])
}

struct SiteWriter<'a> {
    chance: &'a mut SeededRandom,
    folder: &'a Path,
    number: usize,
    /// How often conditions are written, in percent: a site with many of them admits nothing.
    strictness: usize,
    included: Vec<String>,
}

impl SiteWriter<'_> {
    fn percent(&mut self, percent: usize) -> bool {
        self.chance.percent(percent)
    }

    /// True with this probability in percent, scaled by the strictness.
    fn strict(&mut self, percent: usize) -> bool {
        self.chance.below(10_000) < percent * self.strictness
    }

    fn server(&mut self) -> String {
        let mut text = String::new();
        if self.percent(75) {
            let _ = writeln!(text, "auth_basic server; auth_basic_user_file {};", users(self.chance, self.folder));
        }
        text += &self.access(6);
        for _ in 0..self.chance.below(3) {
            if self.strict(25) {
                text += &self.condition(false);
            }
        }
        if self.strict(5) {
            text += &self.rewrite();
        }
        if self.strict(2) {
            text += "return 403;\n";
        }
        let mut names = BTreeSet::new();
        let count = 1 + self.chance.below(5);
        let mut locations: String = (0..count).map(|_| self.location(None, &mut names, 0)).collect();
        if self.percent(60) && names.insert(" /v2/".to_owned()) {
            locations += &["location /v2/ { ", &self.inside("/v2/", false), " }\n"].concat();
        }
        if self.percent(15) { text + &self.include(&locations) } else { text + &locations }
    }

    /// Access conditions that are valid in any block; each is written with this probability in percent.
    fn access(&mut self, percent: usize) -> String {
        let mut text = String::new();
        if self.strict(percent) {
            text += addresses(self.chance);
        }
        if self.strict(percent) {
            text += satisfy(self.chance);
        }
        if self.strict(percent / 2) {
            text +=
                self.chance.one_of(&["auth_request /allowing;\n", "auth_request /refusing;\n", "auth_request off;\n"]);
        }
        text
    }

    /// Moves the text into an included file and returns the `include`.
    fn include(&mut self, text: &str) -> String {
        let name = format!("include-{}-{}.conf", self.number, self.included.len());
        fs::write(self.folder.join(&name), text).unwrap();
        let shown = if self.percent(50) { name.clone() } else { self.folder.join(&name).display().to_string() };
        let shown = if self.percent(30) { shown.replace(".conf", ".c?n[f]") } else { shown };
        self.included.push(name);
        format!("include {shown};\n")
    }

    fn location(&mut self, parent: Option<(&str, bool)>, names: &mut BTreeSet<String>, depth: usize) -> String {
        let within_pattern = parent.is_some_and(|(_, is_pattern)| is_pattern);
        let (modifier, path) = match self.chance.below(10) {
            0 if !within_pattern => ("=", self.chance.one_of(&EXACT).to_owned()),
            1 | 2 => ("~", self.chance.one_of(&EXPRESSIONS).to_owned()),
            3 => ("~*", self.chance.one_of(&EXPRESSIONS).to_owned()),
            _ if within_pattern => ("~", self.chance.one_of(&EXPRESSIONS).to_owned()),
            5 => ("^~", self.chance.one_of(&PREFIXES).to_owned()),
            _ => ("", self.chance.one_of(&PREFIXES).to_owned()),
        };
        let is_expression = modifier.starts_with('~');
        let path = match parent {
            Some((parent, false)) if !is_expression && !path.starts_with(parent) => {
                [parent, self.chance.one_of(&BELOW)].concat()
            }
            Some(_) | None => path,
        };
        let kind = if modifier == "=" { "=" } else { "" };
        if !is_expression && !names.insert(format!("{kind} {path}")) {
            return String::new();
        }
        let shown = if is_expression { format!("\"{path}\"") } else { path.clone() };
        let mut inside = self.inside(&path, is_expression);
        if modifier != "=" && depth < 3 {
            let mut names = BTreeSet::new();
            let count = if self.percent(30) { 1 + self.chance.below(3) } else { 0 };
            for _ in 0..count {
                inside += &self.location(Some((&path, is_expression)), &mut names, depth + 1);
            }
        }
        if self.percent(8) {
            inside = self.include(&inside);
        }
        format!("location {modifier} {shown} {{\n{inside}}}\n")
    }

    fn inside(&mut self, path: &str, is_expression: bool) -> String {
        let mut text = String::new();
        if self.percent(12) {
            text += self.chance.one_of(&["auth_basic off;\n", "auth_basic off;\n", "auth_basic location;\n"]);
        }
        if self.strict(8) {
            let _ = writeln!(text, "auth_basic_user_file {};", users(self.chance, self.folder));
        }
        text += &self.access(7);
        if self.strict(15) {
            text += &self.limit();
        }
        if self.strict(18) {
            text += &self.condition(true);
        }
        if self.strict(4) {
            text += &self.rewrite();
        }
        if self.strict(4) {
            text += self.chance.one_of(&["return 403;\n", "return 200 other;\n", "internal;\n"]);
        }
        let pass = match self.chance.below(30) {
            0 => "",
            1 => "proxy_pass http://backend$request_uri;\n",
            2 if !is_expression => return text + &format!("proxy_pass http://backend{path};\n"),
            3 if !is_expression => "proxy_pass http://backend/v2/b/;\n",
            4 => "proxy_pass http://backend$uri;\n",
            _ => "proxy_pass http://backend;\n",
        };
        text + pass
    }

    fn limit(&mut self) -> String {
        let mut methods: Vec<&str> = METHODS.into_iter().filter(|_| self.chance.percent(40)).collect();
        if methods.is_empty() {
            methods.push("GET");
        }
        let mut names = methods.join(" ");
        if self.percent(10) {
            names = names.to_lowercase();
        }
        let inside = self.chance.one_of(&[
            "deny all;",
            "auth_basic limit;",
            "auth_basic off;",
            "allow 10.0.0.0/8; deny all;",
            "allow all;",
        ]);
        format!("limit_except {names} {{ {inside} }}\n")
    }

    fn condition(&mut self, in_location: bool) -> String {
        let condition = self.chance.one_of(&[
            "$request_method = POST",
            "$request_method != GET",
            "$request_method ~ ^(PUT|PATCH)$",
            "$request_method !~ ^(GET|HEAD)$",
            "$request_method ~* post",
            "$request_method ~ P",
            "$request_method = DELETE",
            "$remote_user = bob",
            "$remote_user != alice",
            "$remote_user = \"\"",
            "$scheme = http",
            "$scheme = https",
            "$https",
            "$host != example.org",
            "$host = example.org",
            "$uri ~ ^/v2/a/",
            "$uri ~* /MANIFESTS/",
            "$uri !~ ^/v2/a/",
            "$uri = /v2/a/tags/list",
            "$request_uri ~ ^/v2/[^/]+/b/",
            "$request_uri ~ \"%2[fF]\"",
            "$request_uri ~* ^/V2/TEAM",
            "$document_uri ~ latest$",
            "$http_authorization = \"\"",
            "$http_user_agent ~ ^docker/1",
            "$ssl_client_verify != SUCCESS",
            "$args ~ digest",
            "$content_length = 0",
            "$request_method = $http_x_method",
            "$server_port = 443",
            "$server_port != 80",
        ]);
        let action = match self.chance.below(12) {
            0 if in_location => "proxy_pass http://backend;",
            1 if in_location => "add_header X-If 1;",
            0 | 1 => "set $x 1;",
            2 => "rewrite ^/v2/a/(.*)$ /v2/b/$1 break;",
            3 => "return 301 https://example.org/;",
            4 => "break;",
            _ => "return 403;",
        };
        format!("if ({condition}) {{ {action} }}\n")
    }

    fn rewrite(&mut self) -> String {
        let rewrite = self.chance.one_of(&[
            "^/v2/a/(.*)$ /v2/b/$1 last",
            "^/v2/team/(.*)$ /v2/a/$1 break",
            "^/v2/([^/]+)-x/(.*)$ /v2/$1/$2 last",
            "^/ui/(.*)$ /v2/$1 last",
            "/manifests/ /v2/x/tags/list",
            "^/v2/b/ /elsewhere redirect",
            "^/v2/x/(.*)$ http://example.org/$1",
            "^/v1/ /v2/ break",
        ]);
        format!("rewrite {rewrite};\n")
    }
}
