//! Migrates an nginx site that proxies to a registry: addresses, TLS, passwords and access rules.
//!
//! Invariant: where a condition of nginx cannot be expressed, the repositories that it guarded are closed.

mod admission;
mod barrier;
mod clients;
mod condition;
mod include;
mod listen;
mod locations;
mod paths;
mod proxies;
mod region;
mod scope;
mod server;
mod syntax;
#[cfg(test)]
mod tests;
mod tls;
mod told;
mod tree;
mod unsupported;
mod upstream;

use super::{
    draft::Value,
    talk::{Broken, Migration},
};
use portcullis_tls::Hostname;
use scope::Scope;

pub use include::{Files, NoFiles};

/// Reads a site, a main file or the output of `nginx -T` into `migration`.
pub(super) fn read(text: &str, files: &dyn Files, migration: &mut Migration) -> Result<(), Broken> {
    let file = include::read(text, files, &mut migration.lines)?;
    let servers = server::all(&file);
    let (taken, others) = server::choose(&servers, migration)?;
    let certificates = clients::read(taken, migration);
    let (alike, others): (Vec<Scope<'_>>, Vec<Scope<'_>>) =
        others.into_iter().partition(|other| server::is_alike(taken, *other, certificates));
    server::tell(taken, &others, migration);
    // Servers that differ only in names and certificates become one.
    let together: Vec<Scope<'_>> = [taken].into_iter().chain(alike).collect();
    listen::read(&together, server::redirect(&servers, taken), migration);
    hostnames(&together, migration);
    tls::read(&together, migration);
    proxies::read(taken, migration);
    locations::read(taken, certificates, migration);
    told::tell(taken, migration);
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
    let all = servers.iter().flat_map(Scope::own);
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
        migration.set("", "hostnames", Value::list(names), line, "server_name");
    }
}
