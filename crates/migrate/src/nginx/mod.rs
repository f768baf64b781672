//! Migrates an nginx site that proxies to a registry: addresses, TLS, passwords and access rules.
//!
//! Invariant: where a condition of nginx cannot be expressed, the repositories that it guarded are closed.

mod admission;
mod client_certificates;
mod if_condition;
mod include;
mod listen;
mod location_rules;
mod location_tree;
mod missing_settings;
mod path_conditions;
mod path_coverage;
mod proxy_target;
mod repository_region;
mod scope;
mod server_selection;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;
mod trusted_proxies;
mod unsupported_directives;

use super::{
    report::{Migration, ParseError},
    toml_writer::TomlValue,
};
use portcullis_tls::Hostname;
use scope::Scope;

pub use include::{IncludeFiles, NoIncludeFiles};

/// Reads a site, a main file or the output of `nginx -T` into `migration`.
pub(super) fn read(text: &str, files: &dyn IncludeFiles, migration: &mut Migration) -> Result<(), ParseError> {
    let file = include::read(text, files, &mut migration.lines)?;
    let servers = server_selection::find_servers(&file);
    let (taken, others) = server_selection::select(&servers, migration)?;
    let certificates = client_certificates::read(taken, migration);
    let (alike, others): (Vec<Scope<'_>>, Vec<Scope<'_>>) =
        others.into_iter().partition(|other| server_selection::is_equivalent(taken, *other, certificates));
    server_selection::report_others(taken, &others, migration);
    // Servers that differ only in names and certificates become one.
    let together: Vec<Scope<'_>> = [taken].into_iter().chain(alike).collect();
    listen::read(&together, server_selection::redirect_addresses(&servers, taken), migration);
    hostnames(&together, migration);
    tls::read(&together, migration);
    trusted_proxies::read(taken, migration);
    location_rules::read(taken, certificates, migration);
    unsupported_directives::report(taken, migration);
    migration.warn(
        None,
        "Portcullis replaces the registry behind nginx: set storage.filesystem.root to its folder (/var/lib/registry by \
         default), or use what `portcullis migrate registry` makes of its config.yml",
    );
    Ok(())
}

fn hostnames(servers: &[Scope<'_>], migration: &mut Migration) {
    let mut names: Vec<Hostname> = Vec::new();
    let mut line = None;
    let all = servers.iter().flat_map(Scope::directives);
    for directive in all.filter(|directive| directive.name == "server_name") {
        for name in &directive.arguments {
            if ["_", "", "$hostname"].contains(&name.as_str()) {
                continue;
            }
            let bare = name.strip_prefix('.').unwrap_or(name);
            if bare != name {
                let text = format!("server_name: {name:?} includes its subdomains; only {bare:?} was taken");
                migration.warn(directive.line, &text);
            }
            match bare.parse::<Hostname>() {
                Ok(hostname) => {
                    line.get_or_insert(directive.line);
                    if !names.contains(&hostname) {
                        names.push(hostname);
                    }
                }
                Err(error) => {
                    let text = format!("server_name: {name:?}: {error}; write the names one by one in `hostnames`");
                    migration.warn(directive.line, &text);
                }
            }
        }
    }
    if let Some(line) = line {
        migration.set("", "hostnames", TomlValue::list(names), line, "server_name");
    }
}
