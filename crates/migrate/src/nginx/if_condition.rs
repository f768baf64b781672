//! Parses `if` conditions and decides which requests they refuse.
//!
//! Invariant: an `if` that refuses requests for a reason that cannot be parsed is an [`IfEffect::Unknown`]; it is never
//! ignored.

use super::{
    super::{
        expression::exact,
        pattern::{MatchSubject, Pattern},
    },
    path_coverage::PathCoverage,
    scope::Scope,
    syntax::Directive,
};

/// The methods of the requests that registry clients send.
pub(super) const METHODS: [&str; 6] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

/// The effect of an `if` on requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IfEffect {
    /// It denies no rights: it refuses nothing, or only old TLS versions or plain HTTP.
    None,
    /// It refuses clients by their `User-Agent`, which they choose: it takes no rights away, and is not carried over.
    RefusesUserAgents,
    /// It refuses these methods.
    Refuses(Vec<&'static str>),
    /// It refuses at most these paths.
    RefusesPaths(PathCoverage),
    /// It refuses clients without a verified certificate.
    RequiresCertificate,
    /// It refuses requests for other hosts than those that this condition lets through.
    RefusesHosts(HostCondition),
    /// It refuses other requests, or its condition cannot be parsed.
    Unknown,
}

/// The effect of an `if` directive.
pub(super) fn effect(directive: &Directive) -> IfEffect {
    if !may_refuse(directive.children()) {
        return IfEffect::None;
    }
    let IfCondition { variable, operator, value } = &IfCondition::parse(directive);
    if is_about_connection(variable, operator, value) {
        return IfEffect::None;
    }
    match variable.as_str() {
        "$http_user_agent" if is_comparison(operator) => IfEffect::RefusesUserAgents,
        "$request_method" => matching_methods(operator, value).map_or(IfEffect::Unknown, IfEffect::Refuses),
        "$uri" | "$document_uri" => match operator.as_str() {
            "~" => IfEffect::RefusesPaths(PathCoverage::expression(value, false)),
            "~*" => IfEffect::RefusesPaths(PathCoverage::expression(value, true)),
            "=" if !value.contains('$') => IfEffect::RefusesPaths(PathCoverage::exact(value)),
            _ => IfEffect::Unknown,
        },
        "$request_uri" => match operator.as_str() {
            "~" => IfEffect::RefusesPaths(PathCoverage::raw_expression(value, false)),
            "~*" => IfEffect::RefusesPaths(PathCoverage::raw_expression(value, true)),
            _ => IfEffect::Unknown,
        },
        "$host" | "$http_host" => match operator.as_str() {
            "!=" if !value.contains('$') => IfEffect::RefusesHosts(HostCondition::Is(value.clone())),
            "!~" | "!~*" if !value.contains("${") => {
                let pattern = exact::parse(value, MatchSubject::Text);
                pattern.map_or(IfEffect::Unknown, |pattern| IfEffect::RefusesHosts(HostCondition::Matches(pattern)))
            }
            _ => IfEffect::Unknown,
        },
        "$ssl_client_verify" if (operator.as_str(), value.as_str()) == ("!=", "SUCCESS") => {
            IfEffect::RequiresCertificate
        }
        _ => IfEffect::Unknown,
    }
}

/// Which hosts an `if` lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostCondition {
    Is(String),
    Matches(Pattern),
}

impl HostCondition {
    /// Whether the condition lets one of the server's own names through.
    pub(super) fn lets_through(&self, server: Scope<'_>) -> bool {
        let names = server.directives().iter().filter(|directive| directive.name == "server_name");
        names.flat_map(|directive| &directive.arguments).any(|name| match self {
            Self::Is(wanted) => wanted == name,
            Self::Matches(pattern) => pattern.matches(name, ""),
        })
    }
}

/// A parsed comparison of an `if`.
struct IfCondition {
    variable: String,
    operator: String,
    value: String,
}

impl IfCondition {
    fn parse(directive: &Directive) -> Self {
        let words = directive.arguments.join(" ");
        let words = words.strip_prefix('(').unwrap_or(&words);
        let words = words.strip_suffix(')').unwrap_or(words).trim();
        let (variable, rest) = words.split_once(' ').unwrap_or((words, ""));
        let (operator, value) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
        Self { variable: variable.to_owned(), operator: operator.to_owned(), value: value.trim().to_owned() }
    }
}

fn is_comparison(operator: &str) -> bool {
    ["=", "!=", "~", "~*", "!~", "!~*"].contains(&operator)
}

/// Whether a condition holds only for connections that Portcullis does not serve: plain HTTP, or an old TLS version.
fn is_about_connection(variable: &str, operator: &str, value: &str) -> bool {
    let is_one_of = |values: &[&str]| values.contains(&value);
    match (variable, operator) {
        ("$scheme" | "$http_x_forwarded_proto", "=") => value == "http",
        ("$scheme" | "$http_x_forwarded_proto", "!=") => value == "https",
        ("$https", "=") => is_one_of(&["", "off"]),
        ("$https", "!=") => value == "on",
        ("$server_port", "=") => value == "80",
        ("$ssl_protocol", "=") => is_one_of(&["SSLv2", "SSLv3", "TLSv1", "TLSv1.1"]),
        _ => false,
    }
}

/// The methods for which the condition holds; `None` if it cannot be parsed.
fn matching_methods(operator: &str, value: &str) -> Option<Vec<&'static str>> {
    let fits = |method: &&'static str, pattern: &Option<Pattern>| match pattern {
        Some(pattern) => pattern.matches(method, ""),
        None => *method == value,
    };
    let (is_pattern, wanted) = match operator {
        "=" => (false, true),
        "!=" => (false, false),
        "~" => (true, true),
        "!~" => (true, false),
        _ => return None,
    };
    // nginx replaces variables in the value; in an expression, `$` alone is the anchor.
    if value.contains("${") || (!is_pattern && value.contains('$')) {
        return None;
    }
    let pattern = if is_pattern { Some(exact::parse(value, MatchSubject::Text).ok()?) } else { None };
    Some(METHODS.into_iter().filter(|method| fits(method, &pattern) == wanted).collect())
}

/// Whether the block does more than set variables and headers: another `proxy_pass` may lead to a server that refuses.
/// The effects of `rewrite` and of the variables are not considered here.
fn may_refuse(block: &[Directive]) -> bool {
    const HARMLESS: [&str; 13] = [
        "set",
        "add_header",
        "add_trailer",
        "more_set_headers",
        "more_clear_headers",
        "access_log",
        "error_log",
        "expires",
        "gzip",
        "limit_rate",
        "limit_rate_after",
        "break",
        "rewrite",
    ];
    !block.iter().all(|directive| HARMLESS.contains(&directive.name.as_str()))
}

/// Whether an `if` can hold for a request that Portcullis serves: not for plain HTTP or old versions of TLS.
pub(super) fn may_hold(directive: &Directive) -> bool {
    let IfCondition { variable, operator, value } = &IfCondition::parse(directive);
    !is_about_connection(variable, operator, value)
}

#[cfg(test)]
mod tests {
    use super::{super::syntax::parse, *};

    fn of(text: &str) -> IfEffect {
        effect(&parse(text, 0).unwrap()[0])
    }

    #[test]
    fn conditions_on_the_method_are_read() {
        let reading = ["POST", "PUT", "PATCH", "DELETE"];
        assert_eq!(of("if ($request_method !~ ^(GET|HEAD)$) { return 403; }"), IfEffect::Refuses(reading.to_vec()));
        assert_eq!(
            of("if ( $request_method ~ \"^(PUT|POST)$\" ) { return 405; }"),
            IfEffect::Refuses(vec!["POST", "PUT"])
        );
        assert_eq!(of("if ($request_method = DELETE) { return 405; }"), IfEffect::Refuses(vec!["DELETE"]));
        assert_eq!(of("if ($request_method = DELETE) { set $x 1; }"), IfEffect::None);
        assert_eq!(
            of("if ($request_method = PUT) { return 301 https://x/; }"),
            IfEffect::Refuses(vec!["PUT"]),
            "a request that is led elsewhere is refused"
        );
        assert_eq!(of("if ($request_method = $x) { return 405; }"), IfEffect::Unknown);
    }

    #[test]
    fn others_are_harmless_or_unknown() {
        for text in [
            "if ($http_user_agent ~ docker) { set $x 1; }",
            "if ($scheme = http) { return 301 https://$host$request_uri; }",
            "if ($scheme != \"https\") { return 301 https://$host$request_uri; }",
            "if ($server_port = 80) { return 301 https://$host$request_uri; }",
        ] {
            assert_eq!(of(text), IfEffect::None, "{text}");
        }
        for operator in ["=", "!=", "~", "~*", "!~", "!~*"] {
            let text = format!("if ($http_user_agent {operator} \"^docker/1\\.3\") {{ return 404; }}");
            assert_eq!(of(&text), IfEffect::RefusesUserAgents, "{text}");
        }
        for text in [
            "if ($http_user_agent) { return 403; }",
            "if ($remote_user = bob) { return 403; }",
            "if ($request_method ~* get) { return 403; }",
            "if ($request_method !~ ^(GET|HEAD)+$) { return 403; }",
            "if ($deny) { return 403; }",
            "if ($scheme = https) { return 403; }",
            "if ($server_port = 443) { return 403; }",
            "if ($http_x_forwarded_proto = https) { return 403; }",
            "if ($host = registry.example.com) { return 403; }",
        ] {
            assert_eq!(of(text), IfEffect::Unknown, "{text}");
        }
    }

    #[test]
    fn conditions_on_the_path_are_about_its_repositories() {
        assert_eq!(of("if ($uri ~ ^/v2/a/) { return 403; }"), IfEffect::RefusesPaths(PathCoverage::prefix("/v2/a/")));
        assert_eq!(of("if ($uri !~ ^/v2/a/) { return 403; }"), IfEffect::Unknown);
        assert!(matches!(of("if ($request_uri ~* ^/v2/a/) { return 403; }"), IfEffect::RefusesPaths(_)));
    }
}
