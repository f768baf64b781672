//! Repeats the checks that registry:2 makes before it starts.
//!
//! A file that registry:2 refuses allows nothing, so a configuration made from it would allow more. A value that is
//! only missing may come from a variable `REGISTRY_…`, and leads to a warning.
//!
//! Invariant: once [`check`] has passed, every key that is read has the type that registry:2 requires.

use super::super::{
    span,
    talk::{Broken, Migration},
    yaml::At,
};

const HINT: &str = "registry:2 does not start from this file; correct it first";
const MAPS: &[&str] = &[
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
const TEXTS: &[&str] = &[
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
const LISTS: &[&str] = &[
    "http.tls.clientcas",
    "http.tls.letsencrypt.hosts",
    "policy.repository.classes",
    "validation.manifests.urls.allow",
    "validation.manifests.urls.deny",
];
const BOOLEANS: &[&str] = &[
    "http.debug.prometheus.enabled",
    "http.http2.disabled",
    "http.relativeurls",
    "log.accesslog.disabled",
    "validation.disabled",
    "validation.enabled",
];

/// Keys below `storage` that are not a driver.
const NO_DRIVERS: [&str; 5] = ["cache", "delete", "maintenance", "redirect", "tag"];
const DRIVERS: [&str; 9] = ["azure", "filesystem", "gcs", "inmemory", "oss", "s3", "s3aws", "swift", "s3-aws"];
const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];
const FORMATTERS: [&str; 4] = ["", "json", "logstash", "text"];
const TLS_VERSIONS: [&str; 5] = ["", "tls1.0", "tls1.1", "tls1.2", "tls1.3"];

/// Refuses what registry:2 refuses, and warns of values that it requires and that are missing.
pub(super) fn check(root: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
    version(root)?;
    types(root)?;
    storage(root, migration)?;
    maintenance(root, migration)?;
    auth(root, migration)?;
    one_of(root, "http.net", &["", "tcp", "unix"])?;
    one_of(root, "log.formatter", &FORMATTERS)?;
    for key in ["log.level", "loglevel"] {
        let level = root.at(key).filter(|at| !at.is_null());
        if level.is_some_and(|at| !at.text().is_some_and(|text| LEVELS.contains(&text.to_lowercase().as_str()))) {
            return Err(refused(level, &format!("{key}: the level is one of {}", LEVELS.join(", "))));
        }
    }
    tls(root)
}

/// The name of the storage driver, if there is one, and its place.
pub(super) fn driver(root: At<'_>) -> Option<(&str, At<'_>)> {
    let storage = root.at("storage")?;
    if let Some(word) = storage.text() {
        return Some((word, storage)).filter(|(word, _)| !word.is_empty());
    }
    storage.entries().find(|(key, _)| !NO_DRIVERS.contains(key))
}

/// The kind of authentication, if there is one, and its place.
pub(super) fn auth_kind(root: At<'_>) -> Option<(&str, At<'_>)> {
    let auth = root.at("auth")?;
    let kind = auth.text().map(|word| (word, auth)).or_else(|| auth.entries().next());
    kind.filter(|(kind, _)| !kind.is_empty() && !kind.eq_ignore_ascii_case("none"))
}

/// The text of a key, if it is present and not empty, and its place.
pub(super) fn given<'a>(root: At<'a>, key: &str) -> Option<(&'a str, At<'a>)> {
    let at = root.at(key)?;
    at.text().filter(|text| !text.is_empty()).map(|text| (text, at))
}

fn version(root: At<'_>) -> Result<(), Broken> {
    let hint = "is this the right file? config.yml of registry:2 and 3 says version: 0.1";
    match root.at("version") {
        Some(at) if at.text() == Some("0.1") => Ok(()),
        Some(at) => Err(Broken::at(at.line, "version: registry:2 and 3 accept only 0.1", hint)),
        None => Err(Broken::at(root.line, "there is no `version`, without which registry:2 reads no file", hint)),
    }
}

fn refused(at: Option<At<'_>>, reason: &str) -> Broken {
    Broken::at(at.map_or(1, |at| at.line), reason, HINT)
}

fn types(root: At<'_>) -> Result<(), Broken> {
    for key in MAPS {
        root.at(key).map(|at| at.map(key)).transpose()?;
    }
    for key in TEXTS {
        root.at(key).map(|at| at.scalar(key)).transpose()?;
    }
    for key in LISTS {
        for element in root.at(key).map(|at| at.list(key)).transpose()?.unwrap_or_default() {
            element.scalar(key)?;
        }
    }
    for key in BOOLEANS {
        root.at(key).map(|at| at.boolean(key)).transpose()?;
    }
    Ok(())
}

fn one_of(root: At<'_>, key: &str, known: &[&str]) -> Result<(), Broken> {
    match root.at(key) {
        Some(at) if !at.text().is_some_and(|text| known.contains(&text)) => {
            let known: Vec<&str> = known.iter().copied().filter(|word| !word.is_empty()).collect();
            Err(refused(Some(at), &format!("{key}: it is one of {}", known.join(", "))))
        }
        Some(_) | None => Ok(()),
    }
}

fn missing(key: &str, line: usize, migration: &mut Migration) {
    let text = format!("{key}: missing; registry:2 does not start without it, unless a variable REGISTRY_… gives it");
    migration.warn(line, &text);
}

fn storage(root: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
    let storage = root.at("storage");
    if let Some(storage) = storage.filter(|at| at.text().is_none()) {
        for (key, below) in storage.map("storage")? {
            below.map(&format!("storage.{key}"))?;
        }
        let drivers: Vec<&str> =
            storage.entries().map(|(key, _)| key).filter(|key| !NO_DRIVERS.contains(key)).collect();
        if drivers.len() > 1 {
            let reason = format!("storage: there is one driver at most, and here are {}", drivers.join(" and "));
            return Err(refused(Some(storage), &reason));
        }
    }
    match driver(root) {
        None => missing("storage", storage.map_or(root.line, |at| at.line), migration),
        Some((name, at)) if !DRIVERS.contains(&name) => {
            return Err(refused(Some(at), &format!("storage.{name}: there is no such driver")));
        }
        Some(_) => {}
    }
    if let Some(threads) = root.at("storage.filesystem.maxthreads").filter(|at| !at.is_null())
        && threads.text().is_none_or(|text| text.parse::<i64>().is_err())
    {
        return Err(refused(Some(threads), "storage.filesystem.maxthreads: it is a whole number"));
    }
    if let Some(at) = root.at("storage.redirect.disable").filter(|at| at.is_null() || at.boolean("").is_err()) {
        return Err(refused(Some(at), "storage.redirect.disable: it is true or false, without quotes"));
    }
    let redis =
        ["blobdescriptor", "layerinfo"].into_iter().find_map(|key| given(root, &format!("storage.cache.{key}")));
    if let Some((_, at)) = redis.filter(|(kind, _)| *kind == "redis" && root.at("redis").is_none()) {
        missing("redis", at.line, migration);
    }
    Ok(())
}

fn maintenance(root: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
    for key in ["storage.maintenance.readonly", "storage.maintenance.uploadpurging"] {
        if let Some(at) = root.at(key).filter(|at| !at.is_map()) {
            return Err(refused(Some(at), &format!("{key}: it is a map with further keys")));
        }
    }
    let readonly = root.at("storage.maintenance.readonly.enabled");
    if readonly.is_some_and(|at| at.is_null() || at.boolean("").is_err()) {
        let reason = "storage.maintenance.readonly.enabled: it is true or false, without quotes";
        return Err(refused(readonly, reason));
    }
    let Some(purging) = root.at("storage.maintenance.uploadpurging") else { return Ok(()) };
    if purging.at("enabled").is_some_and(|at| !at.is_null() && at.boolean("").is_ok_and(|is_on| !is_on)) {
        return Ok(());
    }
    for key in ["age", "interval"] {
        let path = format!("storage.maintenance.uploadpurging.{key}");
        match purging.at(key) {
            None => missing(&path, purging.line, migration),
            Some(at) if at.is_string() && at.text().is_some_and(|text| span::seconds(text).is_some()) => {}
            Some(at) => return Err(refused(Some(at), &format!("{path}: it is a duration such as 168h"))),
        }
    }
    match purging.at("dryrun") {
        None => missing("storage.maintenance.uploadpurging.dryrun", purging.line, migration),
        Some(at) if !at.is_null() && at.boolean("").is_ok() => {}
        Some(at) => {
            let reason = "storage.maintenance.uploadpurging.dryrun: it is true or false, without quotes";
            return Err(refused(Some(at), reason));
        }
    }
    Ok(())
}

fn auth(root: At<'_>, migration: &mut Migration) -> Result<(), Broken> {
    let Some(auth) = root.at("auth") else { return Ok(()) };
    if auth.text().is_none() {
        let kinds = auth.map("auth")?;
        if let [(one, _), (other, _), ..] = kinds.as_slice() {
            return Err(refused(
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
        "token" if at.at("jwks").is_some() => &["realm", "issuer", "service"],
        "token" => &["realm", "issuer", "service", "rootcertbundle"],
        "silly" => &["realm", "service"],
        _ => return Err(refused(Some(at), &format!("auth.{kind}: there is no such kind"))),
    };
    for key in needed {
        let path = format!("auth.{kind}.{key}");
        match at.at(key) {
            Some(value) if value.is_string() => {}
            Some(value) if !value.is_null() => return Err(refused(Some(value), &format!("{path}: it is a text"))),
            Some(_) | None => missing(&path, at.line, migration),
        }
    }
    Ok(())
}

fn tls(root: At<'_>) -> Result<(), Broken> {
    let certificate = given(root, "http.tls.certificate");
    let acme = given(root, "http.tls.letsencrypt.cachefile");
    if let (Some(_), Some((_, at))) = (certificate, acme) {
        return Err(refused(Some(at), "http.tls: there is a certificate or letsencrypt, not both"));
    }
    if certificate.is_some() || acme.is_some() { one_of(root, "http.tls.minimumtls", &TLS_VERSIONS) } else { Ok(()) }
}
