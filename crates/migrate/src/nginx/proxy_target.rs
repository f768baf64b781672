//! Resolves the target of `proxy_pass`.
//!
//! Invariant: a target is known only if no request can choose another: every variable in it has a constant value
//! wherever it is set, and is set under no condition. A `map` by user or path would let some requests reach the
//! registry and others not.

use super::{location_tree, scope::Scope, syntax::Directive};

/// A target that is the same for all requests.
pub(super) struct ProxyTarget {
    /// The target without its scheme.
    address: String,
    /// Whether it contained a variable: nginx then sends its path unchanged, without the rest of the request's path.
    has_variable: bool,
}

/// The target of a `proxy_pass`; `None` if it depends on the request.
pub(super) fn resolve_target(pass: &Directive, location: Scope<'_>) -> Option<ProxyTarget> {
    let mut text = pass.first_argument().to_owned();
    let mut has_variable = false;
    while let Some((start, end, name)) = first_variable(&text) {
        text.replace_range(start..end, &fixed_value(&name, location)?);
        has_variable = true;
    }
    let rest = text.split_once("://").map_or(text.as_str(), |(_, rest)| rest).to_owned();
    Some(ProxyTarget { address: rest, has_variable })
}

/// The first variable before the path, as start, end and name; not `$request_uri`, which is the path itself.
fn first_variable(text: &str) -> Option<(usize, usize, String)> {
    let after_scheme = text.find("://").map_or(0, |found| found + 3);
    let host_end = text[after_scheme..].find('/').map_or(text.len(), |found| after_scheme + found);
    let start = text[..host_end].find('$')?;
    let named = text[start + 1..].trim_start_matches('{');
    let is_word = |character: char| character.is_ascii_alphanumeric() || character == '_';
    let name: String = named.chars().take_while(|character| is_word(*character)).collect();
    let braces = text[start + 1..].len() - named.len();
    let end = (start + 1 + braces + name.len() + braces).min(text.len());
    (name != "request_uri").then_some((start, end, name))
}

/// The constant value of a variable in a location; `None` if it depends on the request.
fn fixed_value(name: &str, location: Scope<'_>) -> Option<String> {
    let is_set =
        |directive: &&Directive| directive.name == "set" && directive.first_argument().trim_start_matches('$') == name;
    let mut values = Vec::new();
    for level in location.blocks_outwards() {
        let is_conditional =
            |directive: &Directive| directive.name == "if" && directive.children().iter().any(|inner| is_set(&inner));
        if level.iter().any(is_conditional) {
            return None;
        }
        values
            .extend(level.iter().filter(is_set).map(|directive| directive.arguments.get(1).map_or("", String::as_str)));
    }
    // The innermost value applies. A value that depends on the request may be used in another one.
    let is_fixed = values.iter().all(|value| !value.contains('$'));
    values.first().filter(|value| is_fixed && !value.is_empty()).map(|value| (*value).to_owned())
}

impl ProxyTarget {
    /// Whether nginx passes the client's path on unchanged.
    pub(super) fn keeps_path(&self, location: Scope<'_>) -> bool {
        let Some((_, path)) = self.address.split_once('/') else { return true };
        let is_unix = self.address.starts_with("unix:");
        let path = if is_unix { path.split_once(':').map(|(_, path)| path) } else { Some(path) };
        let Some(path) = path else { return true };
        let path = if is_unix { path.to_owned() } else { format!("/{path}") };
        let is_prefix = || location.location().and_then(location_tree::prefix_of).is_some_and(|prefix| prefix == path);
        path == "$request_uri" || (!self.has_variable && is_prefix())
    }
}
