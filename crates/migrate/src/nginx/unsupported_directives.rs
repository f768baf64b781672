//! Reports each directive of a server that is not carried over, with the reason.
//!
//! Invariant: each directive of the server is carried over, reported with its reason, or reported as unknown;
//! [`may_restrict`] assumes that every directive may refuse requests that is not listed as harmless.

use super::{
    super::report::Migration,
    if_condition::{self, IfEffect},
    missing_settings,
    scope::Scope,
    syntax::Directive,
};

/// Directives that are carried over.
const CARRIED_DIRECTIVES: &[&str] = &[
    "allow",
    "auth_basic",
    "auth_basic_user_file",
    "deny",
    "limit_except",
    "listen",
    "location",
    "proxy_pass",
    "real_ip_header",
    "return",
    "satisfy",
    "server_name",
    "set_real_ip_from",
    "ssl",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_crl",
    "ssl_protocols",
    "ssl_trusted_certificate",
    "ssl_verify_client",
];

/// Directives that are left out: the beginning of the name, whether the user must act (a warning, not a note), and the
/// reason. The first match is reported.
const IGNORED_DIRECTIVES: &[(&str, bool, &str)] = &[
    (
        "include",
        true,
        "the file cannot be read here; read everything where nginx runs: nginx -T | portcullis migrate nginx /dev/stdin",
    ),
    ("client_max_body_size", false, "not needed: layers may have any size, manifests 4 MiB as in registry:2"),
    ("client_body_buffer_size", false, "not needed: bodies are not kept in memory"),
    ("client_", false, "deadlines and sizes are set in [limits]"),
    ("keepalive_", false, "deadlines are set in [limits]"),
    ("send_timeout", false, "deadlines are set in [limits]"),
    ("proxy_set_header", false, "not needed: nothing is passed on to another server"),
    ("proxy_", false, "not needed: nothing is passed on to another server"),
    ("chunked_transfer_encoding", false, "not needed: bodies of any encoding are accepted"),
    ("http2", false, "HTTP/2 is served to every client that negotiates it"),
    ("gzip", false, "not needed: layers are compressed already"),
    ("brotli", false, "not needed: layers are compressed already"),
    ("add_header", false, "response headers are fixed; plain HTTP is never served"),
    ("add_trailer", false, "response headers are fixed"),
    ("more_set_headers", false, "response headers are fixed"),
    ("more_clear_headers", false, "response headers are fixed"),
    ("expires", false, "response headers are fixed"),
    ("etag", false, "response headers are fixed"),
    ("server_tokens", false, "not needed: no version is disclosed"),
    ("access_log", false, "each request is one line of the log, on standard error; [log] configures it"),
    ("error_log", false, "errors are in the log, on standard error; [log] configures it"),
    ("log_", false, "[log] selects what is logged"),
    ("ssl_", false, "not needed: only secure ciphers, curves and sessions are used"),
    ("auth_delay", false, "wrong passwords delay further attempts"),
    ("auth_", true, "only passwords of the users file are checked"),
    ("real_ip_", false, "not needed: of X-Forwarded-For, what trusted_proxies wrote is read"),
    ("root", false, "no files are served"),
    ("index", false, "no files are served"),
    ("autoindex", false, "no files are served"),
    ("try_files", false, "no files are served"),
    ("alias", false, "no files are served"),
    ("error_page", false, "errors are those of the registry protocol"),
    ("recursive_error_pages", false, "errors are those of the registry protocol"),
    ("internal", false, "there are no internal locations"),
    ("set", false, "there are no variables"),
    ("break", false, "there are no variables"),
    ("default_type", false, "not needed: media types are the registry's"),
    ("charset", false, "not needed: media types are the registry's"),
    ("types", false, "not needed: media types are the registry's"),
    ("resolver", false, "not needed: no names are looked up"),
    ("tcp_", false, "not needed"),
    ("sendfile", false, "not needed"),
    ("aio", false, "not needed"),
    ("directio", false, "not needed"),
    ("output_buffers", false, "not needed"),
    ("postpone_output", false, "not needed"),
    ("open_file_cache", false, "not needed"),
    ("lingering_", false, "not needed"),
    ("reset_timedout_connection", false, "not needed"),
    ("absolute_redirect", false, "not needed: redirects are those of the registry protocol"),
    ("port_in_redirect", false, "not needed: redirects are those of the registry protocol"),
    ("server_name_in_redirect", false, "not needed: redirects are those of the registry protocol"),
    ("underscores_in_headers", false, "not needed"),
    ("ignore_invalid_headers", false, "not needed"),
    ("connection_pool_size", false, "not needed"),
    ("request_pool_size", false, "not needed"),
    ("large_client_header_buffers", false, "the size of request headers is always bounded"),
    ("merge_slashes", false, "paths are taken as they are"),
    ("uninitialized_variable_warn", false, "there are no variables"),
    ("rewrite_log", false, "[log] selects what is logged"),
    ("status_zone", false, "not needed"),
    ("vhost_traffic_status", false, "not needed"),
];

/// Further directives in `http` that restrict nothing by themselves.
const HARMLESS_IN_HTTP: &[&str] = &[
    "server",
    "upstream",
    "map",
    "geo",
    "split_clients",
    "server_names_",
    "variables_hash_",
    "map_hash_",
    "types_hash_",
    "lua_package_",
    "lua_shared_dict",
    "lua_ssl_",
    "init_by_lua",
    "init_worker_by_lua",
    "set_by_lua",
    "log_by_lua",
    "header_filter_by_lua",
    "body_filter_by_lua",
    "js_import",
    "js_path",
    "js_set",
    "fastcgi_",
    "uwsgi_",
    "scgi_",
    "grpc_",
    "if",
];

/// Files that come with nginx or certbot and hold no restriction.
const HARMLESS_FILES: [&str; 3] = ["mime.types", "proxy_params", "options-ssl-nginx.conf"];

/// Reports the directives of the server and its blocks that are not carried over, each name once.
pub(super) fn report(server: Scope<'_>, migration: &mut Migration) {
    let mut seen = Vec::new();
    walk(server.directives(), &mut seen, migration);
}

fn walk<'a>(directives: &'a [Directive], seen: &mut Vec<&'a str>, migration: &mut Migration) {
    for directive in directives {
        let Directive { line, name, .. } = directive;
        if name == "if" {
            report_condition(directive, migration);
            continue;
        }
        walk(directive.children(), seen, migration);
        if CARRIED_DIRECTIVES.contains(&name.as_str()) || (seen.contains(&name.as_str()) && name != "include") {
            continue;
        }
        seen.push(name);
        if let Some(row) = missing_settings::find_row(name) {
            migration.warn(*line, &format!("{name}: {}", row.reason()));
            continue;
        }
        match IGNORED_DIRECTIVES.iter().find(|(start, ..)| matches_name(name, start)) {
            Some((_, true, why)) => migration.warn(*line, &format!("{name}: {why}")),
            Some((_, false, why)) => migration.note(*line, &format!("{name}: {why}")),
            None => migration.warn(*line, &format!("{name}: not known here, and not carried over")),
        }
    }
}

fn report_condition(directive: &Directive, migration: &mut Migration) {
    let words = directive.arguments.join(" ");
    match if_condition::effect(directive) {
        IfEffect::None => migration.note(directive.line, &format!("if {words}: left out: it takes no rights away")),
        IfEffect::RefusesUserAgents => {
            let text = format!(
                "if {words}: not carried over: access rules have no condition on the User-Agent, so the clients that nginx \
                 refused here are served like all others"
            );
            migration.warn(directive.line, &text);
        }
        // Reported with the rules that they restrict.
        IfEffect::Refuses(_)
        | IfEffect::RefusesPaths(_)
        | IfEffect::RequiresCertificate
        | IfEffect::RefusesHosts(_)
        | IfEffect::Unknown => {}
    }
}

/// The reason why a directive may refuse requests; `None` if it does not, or if its conditions are read elsewhere.
pub(super) fn may_restrict(directive: &Directive) -> Option<String> {
    let (name, first) = (directive.name.as_str(), directive.first_argument());
    if name == "include" {
        let is_harmless = HARMLESS_FILES.contains(&first.rsplit('/').next().unwrap_or_default());
        return (!is_harmless)
            .then(|| format!("the included file {first} cannot be read here, and may refuse requests"));
    }
    let is_password = ["auth_basic", "auth_basic_user_file", "auth_delay", "auth_request_set"].contains(&name);
    let is_decision = (name.contains("auth") && !name.starts_with("proxy_")) || name.starts_with("ssl_ocsp");
    if is_decision && !is_password {
        return (first != "off").then(|| format!("{name} decided who was let in"));
    }
    let is_program = name.contains("_by_lua")
        && !["init_", "set_", "log_", "header_filter_", "body_filter_"].iter().any(|start| name.starts_with(start));
    if is_program || name == "proxy_method" || (name == "ssl_reject_handshake" && first != "off") {
        return Some(format!("{name} decided what was let in"));
    }
    let is_known = CARRIED_DIRECTIVES.contains(&name)
        || IGNORED_DIRECTIVES.iter().any(|(start, ..)| matches_name(name, start))
        || HARMLESS_IN_HTTP.iter().any(|start| matches_name(name, start))
        || missing_settings::find_row(name).is_some();
    (!is_known).then(|| format!("{name} is not known here, and may refuse requests"))
}

/// Whether a directive has this name or belongs to the family of this prefix.
fn matches_name(name: &str, start: &str) -> bool {
    let rest = name.strip_prefix(start);
    rest.is_some_and(|rest| rest.is_empty() || start.ends_with('_') || (start != "set" && rest.starts_with('_')))
}
