//! Repeats the checks that registry:2 makes before it starts.
//!
//! A file that registry:2 refuses allows nothing, so a configuration made from it would allow more. A value that is
//! only missing may come from a variable `REGISTRY_…`, and leads to a warning.
//!
//! Invariant: once [`check`] has passed, every key that is read has the type that registry:2 requires.

use super::super::{
    duration,
    report::{Migration, ParseError},
    yaml::NodeRef,
};

const HINT: &str = "registry:2 does not start from this file; correct it first";
const MAP_KEYS: &[&str] = &[
    "http",
    "http.tls",
    "http.tls.letsencrypt",
    "http.http2",
    "log",
    "policy",
    "policy.repository",
    "proxy",
    "validation",
    "validation.manifests",
    "validation.manifests.indexes",
    "validation.manifests.urls",
];
const TEXT_KEYS: &[&str] = &[
    "http.addr",
    "http.draintimeout",
    "http.host",
    "http.net",
    "http.prefix",
    "http.secret",
    "http.tls.certificate",
    "http.tls.clientauth",
    "http.tls.key",
    "http.tls.letsencrypt.cachefile",
    "http.tls.letsencrypt.directoryurl",
    "http.tls.letsencrypt.email",
    "http.tls.minimumtls",
    "log.formatter",
    "log.level",
    "loglevel",
    "proxy.remoteurl",
    "validation.manifests.indexes.platforms",
    "version",
];
const LIST_KEYS: &[&str] = &[
    "http.tls.clientcas",
    "http.tls.letsencrypt.hosts",
    "policy.repository.classes",
    "validation.manifests.urls.allow",
    "validation.manifests.urls.deny",
];
const BOOLEAN_KEYS: &[&str] = &[
    "http.debug.prometheus.enabled",
    "http.http2.disabled",
    "http.relativeurls",
    "log.accesslog.disabled",
    "validation.disabled",
    "validation.enabled",
];

/// Keys below `storage` that are not a driver.
const NON_DRIVER_KEYS: [&str; 5] = ["cache", "delete", "maintenance", "redirect", "tag"];
const DRIVERS: [&str; 9] = ["azure", "filesystem", "gcs", "inmemory", "oss", "s3", "s3aws", "swift", "s3-aws"];
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
const FORMATTERS: [&str; 4] = ["", "json", "logstash", "text"];
const TLS_VERSIONS: [&str; 5] = ["", "tls1.0", "tls1.1", "tls1.2", "tls1.3"];

/// Refuses what registry:2 refuses, and warns of values that it requires and that are missing.
pub(super) fn check(root: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
    version(root)?;
    check_types(root)?;
    storage(root, migration)?;
    maintenance(root, migration)?;
    auth(root, migration)?;
    check_one_of(root, "http.net", &["", "tcp", "unix"])?;
    check_one_of(root, "log.formatter", &FORMATTERS)?;
    for key in ["log.level", "loglevel"] {
        let level = root.get(key).filter(|at| !at.is_null());
        if level.is_some_and(|at| !at.text().is_some_and(|text| LEVELS.contains(&text.to_lowercase().as_str()))) {
            return Err(startup_error(level, &format!("{key}: the level is one of {}", LEVELS.join(", "))));
        }
    }
    tls(root)
}

/// The name of the storage driver, if there is one, and its place.
pub(super) fn driver(root: NodeRef<'_>) -> Option<(&str, NodeRef<'_>)> {
    let storage = root.get("storage")?;
    if let Some(word) = storage.text() {
        return Some((word, storage)).filter(|(word, _)| !word.is_empty());
    }
    storage.entries().find(|(key, _)| !NON_DRIVER_KEYS.contains(key))
}

/// The kind of authentication, if there is one, and its place.
pub(super) fn auth_kind(root: NodeRef<'_>) -> Option<(&str, NodeRef<'_>)> {
    let auth = root.get("auth")?;
    let kind = auth.text().map(|word| (word, auth)).or_else(|| auth.entries().next());
    kind.filter(|(kind, _)| !kind.is_empty() && !kind.eq_ignore_ascii_case("none"))
}

/// The text of a key, if it is present and not empty, and its place.
pub(super) fn non_empty_text<'a>(root: NodeRef<'a>, key: &str) -> Option<(&'a str, NodeRef<'a>)> {
    let at = root.get(key)?;
    at.text().filter(|text| !text.is_empty()).map(|text| (text, at))
}

fn version(root: NodeRef<'_>) -> Result<(), ParseError> {
    let hint = "is this the right file? config.yml of registry:2 and 3 says version: 0.1";
    match root.get("version") {
        Some(at) if at.text() == Some("0.1") => Ok(()),
        Some(at) => Err(ParseError::at(at.line, "version: registry:2 and 3 accept only 0.1", hint)),
        None => Err(ParseError::at(root.line, "there is no `version`, without which registry:2 reads no file", hint)),
    }
}

fn startup_error(at: Option<NodeRef<'_>>, reason: &str) -> ParseError {
    ParseError::at(at.map_or(1, |at| at.line), reason, HINT)
}

fn check_types(root: NodeRef<'_>) -> Result<(), ParseError> {
    for key in MAP_KEYS {
        root.get(key).map(|at| at.map(key)).transpose()?;
    }
    for key in TEXT_KEYS {
        root.get(key).map(|at| at.scalar(key)).transpose()?;
    }
    for key in LIST_KEYS {
        for element in root.get(key).map(|at| at.list(key)).transpose()?.unwrap_or_default() {
            element.scalar(key)?;
        }
    }
    for key in BOOLEAN_KEYS {
        root.get(key).map(|at| at.boolean(key)).transpose()?;
    }
    Ok(())
}

fn check_one_of(root: NodeRef<'_>, key: &str, known: &[&str]) -> Result<(), ParseError> {
    match root.get(key) {
        Some(at) if !at.text().is_some_and(|text| known.contains(&text)) => {
            let known: Vec<&str> = known.iter().copied().filter(|word| !word.is_empty()).collect();
            Err(startup_error(Some(at), &format!("{key}: it is one of {}", known.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}

fn warn_missing(key: &str, line: usize, migration: &mut Migration) {
    let text = format!("{key}: missing; registry:2 does not start without it, unless a variable REGISTRY_… gives it");
    migration.warn(line, &text);
}

fn storage(root: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
    let storage = root.get("storage");
    if let Some(storage) = storage.filter(|at| at.text().is_none()) {
        for (key, below) in storage.map("storage")? {
            below.map(&format!("storage.{key}"))?;
        }
        let drivers: Vec<&str> =
            storage.entries().map(|(key, _)| key).filter(|key| !NON_DRIVER_KEYS.contains(key)).collect();
        if drivers.len() > 1 {
            let reason = format!("storage: there is one driver at most, and here are {}", drivers.join(" and "));
            return Err(startup_error(Some(storage), &reason));
        }
    }
    match driver(root) {
        None => warn_missing("storage", storage.map_or(root.line, |at| at.line), migration),
        Some((name, at)) if !DRIVERS.contains(&name) => {
            return Err(startup_error(Some(at), &format!("storage.{name}: there is no such driver")));
        }
        Some(_) => {}
    }
    if let Some(threads) = root.get("storage.filesystem.maxthreads").filter(|at| !at.is_null())
        && threads.text().is_none_or(|text| text.parse::<i64>().is_err())
    {
        return Err(startup_error(Some(threads), "storage.filesystem.maxthreads: it is a whole number"));
    }
    if let Some(at) = root.get("storage.redirect.disable").filter(|at| at.is_null() || at.boolean("").is_err()) {
        return Err(startup_error(Some(at), "storage.redirect.disable: it is true or false, without quotes"));
    }
    let redis = ["blobdescriptor", "layerinfo"]
        .into_iter()
        .find_map(|key| non_empty_text(root, &format!("storage.cache.{key}")));
    if let Some((_, at)) = redis.filter(|(kind, _)| *kind == "redis" && root.get("redis").is_none()) {
        warn_missing("redis", at.line, migration);
    }
    Ok(())
}

fn maintenance(root: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
    for key in ["storage.maintenance.readonly", "storage.maintenance.uploadpurging"] {
        if let Some(at) = root.get(key).filter(|at| !at.is_map()) {
            return Err(startup_error(Some(at), &format!("{key}: it is a map with further keys")));
        }
    }
    let readonly = root.get("storage.maintenance.readonly.enabled");
    if readonly.is_some_and(|at| at.is_null() || at.boolean("").is_err()) {
        let reason = "storage.maintenance.readonly.enabled: it is true or false, without quotes";
        return Err(startup_error(readonly, reason));
    }
    let Some(purging) = root.get("storage.maintenance.uploadpurging") else { return Ok(()) };
    if purging.get("enabled").is_some_and(|at| !at.is_null() && at.boolean("").is_ok_and(|is_on| !is_on)) {
        return Ok(());
    }
    for key in ["age", "interval"] {
        let path = format!("storage.maintenance.uploadpurging.{key}");
        match purging.get(key) {
            None => warn_missing(&path, purging.line, migration),
            Some(at) if at.is_string() && at.text().is_some_and(|text| duration::parse_seconds(text).is_some()) => {}
            Some(at) => return Err(startup_error(Some(at), &format!("{path}: it is a duration such as 168h"))),
        }
    }
    match purging.get("dryrun") {
        None => warn_missing("storage.maintenance.uploadpurging.dryrun", purging.line, migration),
        Some(at) if !at.is_null() && at.boolean("").is_ok() => {}
        Some(at) => {
            let reason = "storage.maintenance.uploadpurging.dryrun: it is true or false, without quotes";
            return Err(startup_error(Some(at), reason));
        }
    }
    Ok(())
}

fn auth(root: NodeRef<'_>, migration: &mut Migration) -> Result<(), ParseError> {
    let Some(auth) = root.get("auth") else { return Ok(()) };
    if auth.text().is_none() {
        let kinds = auth.map("auth")?;
        if let [(one, _), (other, _), ..] = kinds.as_slice() {
            return Err(startup_error(
                Some(auth),
                &format!("auth: there is one kind at most, and here are {one} and {other}"),
            ));
        }
        for (kind, below) in kinds {
            below.map(&format!("auth.{kind}"))?;
        }
    }
    let Some((kind, at)) = auth_kind(root) else { return Ok(()) };
    let needed: &[&str] = match kind {
        "htpasswd" => &["realm", "path"],
        "token" if at.get("jwks").is_some() => &["realm", "issuer", "service"],
        "token" => &["realm", "issuer", "service", "rootcertbundle"],
        "silly" => &["realm", "service"],
        _ => return Err(startup_error(Some(at), &format!("auth.{kind}: there is no such kind"))),
    };
    for key in needed {
        let path = format!("auth.{kind}.{key}");
        match at.get(key) {
            Some(value) if value.is_string() => {}
            Some(value) if !value.is_null() => {
                return Err(startup_error(Some(value), &format!("{path}: it is a text")));
            }
            Some(_) | None => warn_missing(&path, at.line, migration),
        }
    }
    Ok(())
}

fn tls(root: NodeRef<'_>) -> Result<(), ParseError> {
    let certificate = non_empty_text(root, "http.tls.certificate");
    let acme = non_empty_text(root, "http.tls.letsencrypt.cachefile");
    if let (Some(_), Some((_, at))) = (certificate, acme) {
        return Err(startup_error(Some(at), "http.tls: there is a certificate or letsencrypt, not both"));
    }
    if certificate.is_some() || acme.is_some() {
        check_one_of(root, "http.tls.minimumtls", &TLS_VERSIONS)
    } else {
        Ok(())
    }
}
