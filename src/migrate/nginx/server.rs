//! The servers of a file, and the one among them that stands in front of the registry.
//!
//! Invariant: if others could have been meant, they are told with their lines.

use std::net::SocketAddr;

use super::{
    super::talk::{Broken, Migration},
    listen,
    scope::Scope,
    syntax::Directive,
};

/// Every `server` block, alone or within `http`.
pub(super) fn all(file: &[Directive]) -> Vec<Scope<'_>> {
    let whole = Scope::file(file);
    let mut servers = Vec::new();
    for directive in file {
        match directive.name.as_str() {
            "server" => servers.push(whole.within(directive)),
            "http" => {
                let http = whole.within(directive);
                let inside = directive.inside().iter().filter(|directive| directive.name == "server");
                servers.extend(inside.map(|server| http.within(server)));
            }
            _ => {}
        }
    }
    servers
}

/// The one that passes requests on, and asks for passwords, and speaks TLS, in this order; among equals the first.
pub(super) fn choose<'a>(servers: &[Scope<'a>], migration: &mut Migration) -> Result<Scope<'a>, Broken> {
    let mut candidates: Vec<(usize, Scope<'a>)> = servers
        .iter()
        .filter(|server| has(server.own(), &["proxy_pass"]))
        .map(|server| (score(server), *server))
        .collect();
    candidates.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let Some((_, taken)) = candidates.first().copied() else {
        return Err(Broken {
            line: None,
            reason: "there is no server in it that passes requests on to a registry (proxy_pass)".to_owned(),
            hint: "give the file of the site, or everything: nginx -T | portcullis migrate nginx /dev/stdin",
        });
    };
    for (_, other) in candidates.iter().skip(1) {
        let text = format!(
            "server{}: not carried over: the server in line {} was taken for the registry's; keep only the right one in the \
             file to have it otherwise",
            named(other),
            taken.line
        );
        migration.warn(other.line, &text);
    }
    Ok(taken)
}

fn named(server: &Scope<'_>) -> String {
    let name = server.own().iter().find(|directive| directive.name == "server_name");
    name.map(|directive| format!(" {}", directive.first())).unwrap_or_default()
}

fn score(server: &Scope<'_>) -> usize {
    let asks = server.find("auth_basic_user_file").is_some() || has(server.own(), &["auth_basic_user_file"]);
    let is_registry = has_location_of_registry(server.own());
    let is_tls = server.own().iter().any(listen::is_tls) || server.find("ssl_certificate").is_some();
    4 * usize::from(is_registry) + 2 * usize::from(asks) + usize::from(is_tls)
}

fn has_location_of_registry(directives: &[Directive]) -> bool {
    let names_it = |directive: &Directive| {
        directive.name == "location" && directive.arguments.iter().any(|argument| argument.contains("/v2"))
    };
    directives.iter().any(|directive| names_it(directive) || has_location_of_registry(directive.inside()))
}

/// Whether one of these directives is there, however deep.
fn has(directives: &[Directive], names: &[&str]) -> bool {
    directives.iter().any(|directive| names.contains(&directive.name.as_str()) || has(directive.inside(), names))
}

/// Where another server does nothing but send people to HTTPS.
pub(super) fn redirect(servers: &[Scope<'_>], taken: Scope<'_>) -> Vec<(SocketAddr, usize)> {
    let others = servers.iter().filter(|server| server.line != taken.line && !has(server.own(), &["proxy_pass"]));
    let redirecting = others.filter(|server| sends_to_https(server.own()));
    redirecting.flat_map(|server| listen::plain(*server)).collect()
}

fn sends_to_https(directives: &[Directive]) -> bool {
    directives.iter().any(|directive| {
        let says = matches!(directive.name.as_str(), "return" | "rewrite");
        (says && directive.arguments.iter().any(|argument| argument.starts_with("https://")))
            || sends_to_https(directive.inside())
    })
}
