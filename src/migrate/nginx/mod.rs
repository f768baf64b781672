//! nginx in front of a registry: the server that passes requests on to it, with its TLS and its passwords.
//!
//! Invariant: a condition of nginx that cannot be expressed closes what it guarded.

mod admission;
mod condition;
mod listen;
mod locations;
mod scope;
mod server;
mod syntax;
mod tls;
mod told;

use super::{
    draft::Value,
    talk::{Broken, Migration},
};
use crate::tls::Hostname;
use scope::Scope;

pub(super) fn read(text: &str, migration: &mut Migration) -> Result<(), Broken> {
    let file = syntax::parse(text)?;
    let servers = server::all(&file);
    let taken = server::choose(&servers, migration)?;
    let redirect = server::redirect(&servers, taken);
    listen::read(taken, redirect, migration);
    hostnames(taken, migration);
    tls::read(taken, migration);
    locations::read(taken, migration);
    told::tell(taken, migration);
    migration.warn(
        None,
        "the registry behind it is this program now: set storage.filesystem.root to its folder (registry:2 calls it \
         /var/lib/registry), or look at what `portcullis migrate registry` makes of its config.yml",
    );
    Ok(())
}

fn hostnames(server: Scope<'_>, migration: &mut Migration) {
    let mut names: Vec<Hostname> = Vec::new();
    let mut line = None;
    for directive in server.own().iter().filter(|directive| directive.name == "server_name") {
        for name in &directive.arguments {
            if ["_", "", "$hostname"].contains(&name.as_str()) {
                continue;
            }
            let bare = name.strip_prefix('.').unwrap_or(name);
            if bare != name {
                let text = format!("server_name: {name:?} stands for any name below it; only {bare:?} was taken");
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
