//! What of a server is told instead of carried over.
//!
//! Invariant: each directive of the server is carried over, told here with its reason, or told to be unknown.

use super::{super::talk::Migration, condition, scope::Scope, syntax::Directive};

const CARRIED: &[&str] = &[
    "allow",
    "auth_basic",
    "auth_basic_user_file",
    "deny",
    "limit_except",
    "listen",
    "location",
    "proxy_pass",
    "return",
    "satisfy",
    "server_name",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_password_file",
    "ssl_protocols",
];

/// Directives by how they begin, whether they matter, and why they are left out. The first that fits is told.
const TOLD: &[(&str, bool, &str)] = &[
    (
        "include",
        true,
        "not followed; copy its lines into the file, or read everything: nginx -T | portcullis migrate nginx /dev/stdin",
    ),
    ("client_max_body_size", false, "not needed: layers may have any size, manifests 4 MiB as in registry:2"),
    ("client_body_buffer_size", false, "not needed: bodies are not kept in memory"),
    ("client_", false, "deadlines and sizes are set in [limits]"),
    ("keepalive_", false, "deadlines are set in [limits]"),
    ("send_timeout", false, "deadlines are set in [limits]"),
    ("proxy_set_header", false, "not needed: nothing is passed on to another server"),
    ("proxy_", false, "not needed: nothing is passed on to another server"),
    ("chunked_transfer_encoding", false, "not needed: bodies of any kind are taken"),
    ("http2", false, "HTTP/2 is spoken with whoever wants it"),
    ("gzip", false, "not needed: layers are compressed already"),
    ("add_header", false, "headers are as they are; plain HTTP is never served"),
    ("more_set_headers", false, "headers are as they are"),
    ("server_tokens", false, "not needed: no version is told"),
    ("access_log", false, "each request is one line of the log, on standard error; [log] says how"),
    ("error_log", false, "errors are in the log, on standard error; [log] says how"),
    ("log_not_found", false, "[log] says what is logged"),
    ("ssl_client_certificate", true, "client certificates are not asked for"),
    ("ssl_trusted_certificate", false, "not needed: answers of OCSP are not attached"),
    ("ssl_verify_", true, "client certificates are not asked for"),
    ("ssl_crl", true, "client certificates are not asked for"),
    ("ssl_", false, "not needed: only safe ciphers, curves and sessions are spoken"),
    (
        "limit_req",
        true,
        "requests are not counted; wrong passwords slow down whoever guesses, and limits.connections bounds the rest",
    ),
    ("limit_conn", true, "connections are not counted by address; limits.connections bounds them all"),
    ("limit_rate", true, "the speed is not limited"),
    ("auth_delay", false, "wrong passwords slow down whoever guesses"),
    ("auth_", true, "only passwords of the users file are checked"),
    ("real_ip_", true, "headers of proxies are not trusted; let clients connect directly"),
    ("set_real_ip_from", true, "headers of proxies are not trusted; let clients connect directly"),
    ("rewrite", true, "paths are not rewritten; the registry is at /v2/"),
    ("root", false, "no files are served"),
    ("index", false, "no files are served"),
    ("try_files", false, "no files are served"),
    ("alias", false, "no files are served"),
    ("error_page", false, "errors are those of the registry protocol"),
    ("internal", false, "there are no internal locations"),
    ("set", false, "there are no variables"),
    ("default_type", false, "not needed: media types are the registry's"),
    ("charset", false, "not needed: media types are the registry's"),
    ("resolver", false, "not needed: no names are looked up"),
    ("tcp_", false, "not needed"),
    ("sendfile", false, "not needed"),
    ("underscores_in_headers", false, "not needed"),
    ("large_client_header_buffers", false, "heads of requests are bounded by themselves"),
    ("merge_slashes", false, "paths are taken as they are"),
];

pub(super) fn tell(server: Scope<'_>, migration: &mut Migration) {
    let mut seen = Vec::new();
    walk(server.own(), &mut seen, migration);
}

fn walk<'a>(directives: &'a [Directive], seen: &mut Vec<&'a str>, migration: &mut Migration) {
    for directive in directives {
        let Directive { line, name, .. } = directive;
        if name == "if" {
            condition_is_told(directive, migration);
            continue;
        }
        walk(directive.inside(), seen, migration);
        if CARRIED.contains(&name.as_str()) || (seen.contains(&name.as_str()) && name != "include") {
            continue;
        }
        seen.push(name);
        match TOLD.iter().find(|(start, ..)| name.starts_with(start)) {
            Some((_, true, why)) => migration.warn(*line, &format!("{name}: {why}")),
            Some((_, false, why)) => migration.note(*line, &format!("{name}: {why}")),
            None => migration.warn(*line, &format!("{name}: not known here, and not carried over")),
        }
    }
}

fn condition_is_told(directive: &Directive, migration: &mut Migration) {
    let words = directive.arguments.join(" ");
    match condition::effect(directive) {
        condition::Effect::None => {
            migration.note(directive.line, &format!("if {words}: left out: it takes no rights away"));
        }
        condition::Effect::Refuses(_) | condition::Effect::Unknown => {}
    }
}
