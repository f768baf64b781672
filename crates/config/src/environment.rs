//! Reads settings from environment variables: `PORTCULLIS_TLS__MINIMUM_VERSION=1.3`.
//!
//! Invariant: an unknown variable with the prefix `PORTCULLIS_` is an error, except those that Kubernetes sets for a
//! service called `portcullis`.

use std::ffi::OsString;

use super::{
    did_you_mean,
    keys::{KEYS, VARIABLE_PREFIX},
    layers::Layer,
    problem::{ConfigProblem, SettingPlace},
    value::RawValue,
};

/// The variable with the path of the configuration file.
pub(super) const CONFIG_FILE_VARIABLE: &str = "PORTCULLIS_CONFIG";

/// Filters the variables of the process ([`std::env::vars_os`]) by the prefix `PORTCULLIS_`. Bytes that are not UTF-8
/// become U+FFFD; where that matters, the value is later rejected or the file not found.
pub fn variables(all: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<(String, String)> {
    all.into_iter()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// The layer of the variables. An empty variable counts as unset, because compose files pass one for an unset variable.
pub(super) fn layer(variables: &[(String, String)], problems: &mut Vec<ConfigProblem>) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in variables {
        if !name.starts_with(VARIABLE_PREFIX) || name == CONFIG_FILE_VARIABLE || is_set_by_kubernetes(name, value) {
            continue;
        }
        let place = SettingPlace::Variable(name.clone());
        match KEYS.iter().find(|key| key.variable().as_ref() == Some(name)) {
            Some(_) if value.is_empty() => {}
            Some(key) => layer.set(key.path(), RawValue::from_text(key.shape(), value, &place), place),
            None => problems.push(unknown(name, place)),
        }
    }
    layer
}

fn unknown(name: &str, place: SettingPlace) -> ConfigProblem {
    let in_file_only = ["ACCESS", "GROUPS", "AUTH__WORKLOAD"].into_iter().any(|table| {
        name.strip_prefix(VARIABLE_PREFIX)
            .and_then(|name| name.strip_prefix(table))
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    });
    if in_file_only {
        return ConfigProblem::new(place, "access rules, workload rules and groups cannot be set by a variable")
            .hint("write [[access]], [[auth.workload]] and [groups] in the configuration file");
    }
    let known: Vec<String> =
        KEYS.iter().filter_map(|key| key.variable()).chain([CONFIG_FILE_VARIABLE.to_owned()]).collect();
    // The prefix is common to all names and must not count as similarity.
    let short = |name: &'_ str| name.strip_prefix(VARIABLE_PREFIX).map(str::to_owned).unwrap_or_default();
    let shortened: Vec<String> = known.iter().map(|name| short(name)).collect();
    let problem = ConfigProblem::new(place, "no setting has this variable");
    match did_you_mean::nearest(&short(name), shortened.iter().map(String::as_str)) {
        Some(nearest) => problem.hint(format!("did you mean {VARIABLE_PREFIX}{nearest}?")),
        None => problem
            .hint("it is PORTCULLIS_, then the key in upper case, with __ between levels: PORTCULLIS_AUTH__HTPASSWD"),
    }
}

/// Whether Kubernetes sets this variable. It sets `PORTCULLIS_SERVICE_HOST`, `PORTCULLIS_PORT=tcp://…`,
/// `PORTCULLIS_PORT_443_TCP_ADDR` and similar ones in every pod of a namespace with a service called `portcullis`.
/// `PORTCULLIS_PORT=8443` is not one of them and remains an error.
fn is_set_by_kubernetes(name: &str, value: &str) -> bool {
    let Some(name) = name.strip_prefix(VARIABLE_PREFIX) else { return false };
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    name.ends_with("SERVICE_HOST")
        || name.ends_with("SERVICE_PORT")
        || name.contains("SERVICE_PORT_")
        || (name.ends_with("PORT") && is_url)
        || (name.contains("PORT_") && ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| name.contains(protocol)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(variables: &[(&str, &str)]) -> Vec<String> {
        let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut problems = Vec::new();
        layer(&variables, &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_misspelled_variable_is_told_with_the_right_one() {
        assert_eq!(
            problems(&[("PORTCULLIS_TLS_MINIMUM_VERSION", "1.3"), ("HOME", "/root")]),
            ["error: PORTCULLIS_TLS_MINIMUM_VERSION: no setting has this variable\n\
              hint: did you mean PORTCULLIS_TLS__MINIMUM_VERSION?"]
        );
        assert_eq!(
            problems(&[("PORTCULLIS_PORT", "8443")]),
            ["error: PORTCULLIS_PORT: no setting has this variable\n\
              hint: it is PORTCULLIS_, then the key in upper case, with __ between levels: PORTCULLIS_AUTH__HTPASSWD"]
        );
    }

    #[test]
    fn rules_and_groups_are_for_the_file() {
        for name in [
            "PORTCULLIS_ACCESS",
            "PORTCULLIS_ACCESS__USERS",
            "PORTCULLIS_GROUPS__TEAM",
            "PORTCULLIS_AUTH__WORKLOAD__USER",
        ] {
            assert_eq!(
                problems(&[(name, "x")]),
                [format!(
                    "error: {name}: access rules, workload rules and groups cannot be set by a variable\n\
                     hint: write [[access]], [[auth.workload]] and [groups] in the configuration file"
                )]
            );
        }
    }

    #[test]
    fn what_kubernetes_makes_up_for_a_service_of_our_name_is_ignored() {
        let made_up = [
            ("PORTCULLIS_SERVICE_HOST", "10.96.0.7"),
            ("PORTCULLIS_SERVICE_PORT", "443"),
            ("PORTCULLIS_SERVICE_PORT_HTTPS", "443"),
            ("PORTCULLIS_PORT", "tcp://10.96.0.7:443"),
            ("PORTCULLIS_PORT_443_TCP", "tcp://10.96.0.7:443"),
            ("PORTCULLIS_PORT_443_TCP_PROTO", "tcp"),
            ("PORTCULLIS_PORT_443_TCP_ADDR", "10.96.0.7"),
            ("PORTCULLIS_METRICS_SERVICE_HOST", "10.96.0.8"),
        ];
        assert_eq!(problems(&made_up), Vec::<String>::new());
        for variable in KEYS.iter().filter_map(|key| key.variable()) {
            assert!(!is_set_by_kubernetes(&variable, "tcp://"), "{variable}");
        }
    }
}
