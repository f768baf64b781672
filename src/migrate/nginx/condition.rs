//! `if`: which methods it refuses, as far as it can be read.
//!
//! Invariant: an `if` that refuses requests for a reason that we cannot read is an [`Effect::Unknown`], never passed over.

use super::{
    super::pattern::{Pattern, Subject},
    syntax::Directive,
};

/// The methods of requests that clients of registries send.
pub(super) const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// What an `if` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// It takes no rights away.
    None,
    /// It refuses these methods.
    Refuses(Vec<&'static str>),
    /// It refuses something else.
    Unknown,
}

/// Variables whose conditions are about how a client speaks, not about what it may.
const HARMLESS: [&str; 8] = [
    "$http_user_agent",
    "$scheme",
    "$https",
    "$host",
    "$http_host",
    "$server_port",
    "$ssl_protocol",
    "$http_x_forwarded_proto",
];

pub(super) fn effect(directive: &Directive) -> Effect {
    if !refuses(directive.inside()) {
        return Effect::None;
    }
    let words = directive.arguments.join(" ");
    let words = words.strip_prefix('(').unwrap_or(&words);
    let words = words.strip_suffix(')').unwrap_or(words).trim();
    let (variable, rest) = words.split_once(' ').unwrap_or((words, ""));
    if HARMLESS.contains(&variable) {
        return Effect::None;
    }
    if variable != "$request_method" {
        return Effect::Unknown;
    }
    let (operator, value) = rest.trim().split_once(' ').unwrap_or((rest, ""));
    methods(operator, value.trim()).map_or(Effect::Unknown, Effect::Refuses)
}

/// The methods for which the condition holds.
fn methods(operator: &str, value: &str) -> Option<Vec<&'static str>> {
    let fits = |method: &&'static str, pattern: &Option<Pattern>| match pattern {
        Some(pattern) => pattern.matches(method, ""),
        None => *method == value,
    };
    let (pattern, wanted) = match operator {
        "=" => (None, true),
        "!=" => (None, false),
        "~" => (Some(Pattern::regex(value, Subject::Text).ok()?), true),
        "!~" => (Some(Pattern::regex(value, Subject::Text).ok()?), false),
        _ => return None,
    };
    Some(METHODS.into_iter().filter(|method| fits(method, &pattern) == wanted).collect())
}

/// Whether the block does more than set variables and headers.
fn refuses(block: &[Directive]) -> bool {
    !block.iter().all(|directive| match directive.name.as_str() {
        "return" => directive.arguments.iter().any(|argument| argument.starts_with("https://")),
        "set" | "add_header" | "more_set_headers" | "access_log" | "limit_rate" | "break" => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::{super::syntax::parse, *};

    fn of(text: &str) -> Effect {
        effect(&parse(text).unwrap()[0])
    }

    #[test]
    fn conditions_on_the_method_are_read() {
        let reading = ["POST", "PUT", "PATCH", "DELETE"];
        assert_eq!(of("if ($request_method !~ ^(GET|HEAD)$) { return 403; }"), Effect::Refuses(reading.to_vec()));
        assert_eq!(
            of("if ( $request_method ~ \"^(PUT|POST)$\" ) { return 405; }"),
            Effect::Refuses(vec!["POST", "PUT"])
        );
        assert_eq!(of("if ($request_method = DELETE) { return 405; }"), Effect::Refuses(vec!["DELETE"]));
        assert_eq!(of("if ($request_method = DELETE) { set $x 1; }"), Effect::None);
    }

    #[test]
    fn others_are_harmless_or_unknown() {
        assert_eq!(of("if ($http_user_agent ~ \"^docker/1\\.3\") { return 404; }"), Effect::None);
        assert_eq!(of("if ($scheme = http) { return 301 https://$host$request_uri; }"), Effect::None);
        assert_eq!(of("if ($remote_user = bob) { return 403; }"), Effect::Unknown);
        assert_eq!(of("if ($request_method ~* get) { return 403; }"), Effect::Unknown);
        assert_eq!(of("if ($request_method !~ ^(GET|HEAD)+$) { return 403; }"), Effect::Unknown);
        assert_eq!(of("if ($deny) { return 403; }"), Effect::Unknown);
    }
}
