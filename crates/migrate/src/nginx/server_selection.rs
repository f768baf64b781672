//! Finds the `server` blocks of a configuration and selects the one that proxies to the registry.
//!
//! Invariant: other servers that could be the registry's are reported with their lines.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    super::report::{Migration, ParseError},
    admission::ClientCertificates,
    listen, location_rules,
    scope::Scope,
    syntax::Directive,
};

/// Every `server` block, alone or within `http`.
pub(super) fn find_servers(file: &[Directive]) -> Vec<Scope<'_>> {
    let whole = Scope::file(file);
    let mut servers = Vec::new();
    for directive in file {
        match directive.name.as_str() {
            "server" => servers.push(whole.within(directive)),
            "http" => {
                let http = whole.within(directive);
                let inside = directive.children().iter().filter(|directive| directive.name == "server");
                servers.extend(inside.map(|server| http.within(server)));
            }
            _ => {}
        }
    }
    servers
}

/// The server that is most likely the registry's, and the others with a `proxy_pass`. These count, in this order of
/// weight: a location below `/v2`, a name like a registry's, a users file, TLS; among equals the first server wins.
/// Fails if there is no candidate, or if two are equally likely and neither has a location or a name of a registry.
pub(super) fn select<'a>(
    servers: &[Scope<'a>],
    migration: &Migration,
) -> Result<(Scope<'a>, Vec<Scope<'a>>), ParseError> {
    let mut candidates: Vec<(usize, Scope<'a>)> = servers
        .iter()
        .filter(|server| contains_directive(server.directives(), &["proxy_pass"]))
        .map(|server| (score(server), *server))
        .collect();
    candidates.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    let Some(((best, taken), others)) = candidates.split_first() else {
        return Err(ParseError {
            line: None,
            reason: "there is no server in it that passes requests on to a registry (proxy_pass)".to_owned(),
            hint: "give the file of the site, or everything: nginx -T | portcullis migrate nginx /dev/stdin",
        });
    };
    // Choosing one would be a guess, and could let the users of another site in.
    if let Some((_, other)) = others.first().filter(|(score, _)| score == best && *best < REGISTRY_NAME_SCORE) {
        let (one, other) = (migration.lines.format_place(taken.line), migration.lines.format_place(other.line));
        return Err(ParseError {
            line: None,
            reason: format!("the servers in {one} and {other} both may be the registry's"),
            hint: "give the file of the registry's site alone",
        });
    }
    Ok((*taken, others.iter().map(|(_, server)| *server).collect()))
}

/// Reports the servers that are not carried over.
pub(super) fn report_others(taken: Scope<'_>, others: &[Scope<'_>], migration: &mut Migration) {
    for other in others {
        let (file, line) = migration.lines.locate(taken.line);
        let is_same = file == migration.lines.locate(other.line).0;
        let place = if is_same { format!("line {line}") } else { migration.lines.format_place(taken.line) };
        let text = format!(
            "server{}: not carried over: the server in {place} was taken for the registry's; if that is wrong, keep only the \
             right one in the file",
            display_name(other),
        );
        migration.warn(other.line, &text);
    }
}

/// Whether two servers pass requests on to the same targets and allow the same actions to the same users.
pub(super) fn is_equivalent(one: Scope<'_>, other: Scope<'_>, certificates: ClientCertificates) -> bool {
    let clients = |server: Scope<'_>| {
        ["ssl_verify_client", "ssl_client_certificate", "ssl_trusted_certificate", "ssl_crl"]
            .map(|name| server.find(name).map_or("off", Directive::first_argument).to_owned())
    };
    targets(one.directives()) == targets(other.directives())
        && clients(one) == clients(other)
        && location_rules::signature(one, certificates) == location_rules::signature(other, certificates)
}

/// The targets of all `proxy_pass` directives, at any depth.
fn targets(directives: &[Directive]) -> BTreeSet<&str> {
    let mut found = BTreeSet::new();
    for directive in directives {
        if directive.name == "proxy_pass" {
            found.insert(directive.first_argument());
        }
        found.extend(targets(directive.children()));
    }
    found
}

fn display_name(server: &Scope<'_>) -> String {
    let name = server.directives().iter().find(|directive| directive.name == "server_name");
    name.map(|directive| format!(" {}", directive.first_argument())).unwrap_or_default()
}

/// The score of a server whose name or upstream is like a registry's.
const REGISTRY_NAME_SCORE: usize = 4;

fn score(server: &Scope<'_>) -> usize {
    let asks = server.find("auth_basic_user_file").is_some()
        || contains_directive(server.directives(), &["auth_basic_user_file"]);
    let is_registry = has_location_of_registry(server.directives());
    let is_tls = server.directives().iter().any(listen::is_tls) || server.find("ssl_certificate").is_some();
    2 * REGISTRY_NAME_SCORE * usize::from(is_registry)
        + REGISTRY_NAME_SCORE * usize::from(names_registry(server))
        + 2 * usize::from(asks)
        + usize::from(is_tls)
}

/// Whether a name of the server, or of a server that it passes requests on to, is like a registry's.
fn names_registry(server: &Scope<'_>) -> bool {
    let speaks = |text: &str| ["registry", "docker", ":5000"].iter().any(|word| text.contains(word));
    let own = server.directives().iter().filter(|directive| directive.name == "server_name");
    let upstreams = server.blocks_outwards().flatten().filter(|directive| directive.name == "upstream");
    let targets = targets(server.directives());
    let is_target =
        |name: &str| targets.iter().any(|target| target.split_once("://").is_some_and(|(_, rest)| rest == name));
    own.flat_map(|directive| &directive.arguments).any(|name| speaks(name))
        || targets.iter().any(|target| speaks(target))
        || upstreams
            .filter(|upstream| is_target(upstream.first_argument()))
            .flat_map(Directive::children)
            .any(|directive| speaks(directive.first_argument()))
}

fn has_location_of_registry(directives: &[Directive]) -> bool {
    let names_it = |directive: &Directive| {
        directive.name == "location" && directive.arguments.iter().any(|argument| argument.contains("/v2"))
    };
    directives.iter().any(|directive| names_it(directive) || has_location_of_registry(directive.children()))
}

/// Whether one of these directives is present, at any depth.
fn contains_directive(directives: &[Directive], names: &[&str]) -> bool {
    directives
        .iter()
        .any(|directive| names.contains(&directive.name.as_str()) || contains_directive(directive.children(), names))
}

/// The plain-HTTP addresses of other servers that only redirect to HTTPS.
pub(super) fn redirect_addresses(servers: &[Scope<'_>], taken: Scope<'_>) -> Vec<(SocketAddr, usize)> {
    let others = servers
        .iter()
        .filter(|server| server.line != taken.line && !contains_directive(server.directives(), &["proxy_pass"]));
    let redirecting = others.filter(|server| redirects_to_https(server.directives()));
    redirecting.flat_map(|server| listen::plaintext_addresses(*server)).collect()
}

fn redirects_to_https(directives: &[Directive]) -> bool {
    directives.iter().any(|directive| {
        let says = matches!(directive.name.as_str(), "return" | "rewrite");
        (says && directive.arguments.iter().any(|argument| argument.starts_with("https://")))
            || redirects_to_https(directive.children())
    })
}
