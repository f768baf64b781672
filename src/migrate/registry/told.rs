//! What of a registry's configuration is told instead of carried over.
//!
//! Invariant: every key is carried over, told here with its reason, or told to be unknown.

use super::super::{talk::Migration, yaml::At};

const CARRIED: &[&str] = &[
    "version",
    "auth",
    "http.addr",
    "http.host",
    "http.draintimeout",
    "http.tls.certificate",
    "http.tls.key",
    "http.tls.minimumtls",
    "http.tls.clientcas",
    "log.level",
    "log.formatter",
    "loglevel",
    "proxy.remoteurl",
    "storage.delete",
    "storage.filesystem.rootdirectory",
    "storage.maintenance.readonly",
    "storage.maintenance.uploadpurging.age",
    "storage.maintenance.uploadpurging.enabled",
    "validation.manifests.indexes.platforms",
];

const BUCKET: &str = "no object storage: images lie in a folder; copy the bucket into one, `docker/` at its top, and name it in \
                      [storage.filesystem]";

/// Keys, whether they change anything, and what to do.
const TOLD: &[(&str, bool, &str)] = &[
    ("log.accesslog", false, "each request is one line of the log; `level` decides whether it is written"),
    ("log.fields", true, "no fields are added to log lines; let the collector of logs add them"),
    ("log.hooks", true, "no mail is sent; let the collector of logs do it"),
    ("storage.s3", true, BUCKET),
    ("storage.s3aws", true, BUCKET),
    ("storage.azure", true, BUCKET),
    ("storage.gcs", true, BUCKET),
    ("storage.swift", true, BUCKET),
    ("storage.oss", true, BUCKET),
    ("storage.inmemory", true, "nothing is kept in memory alone; name a folder in [storage.filesystem]"),
    ("storage.filesystem.maxthreads", false, "not needed: work on the disk is bounded by itself"),
    ("storage.redirect", false, "not needed: blobs are always sent from here"),
    ("storage.cache", false, "not needed: there is no cache to keep"),
    ("storage.tag", false, "not needed: lists are bounded by themselves"),
    (
        "storage.maintenance.uploadpurging.interval",
        false,
        "uploads are looked at with the garbage, every registry.gc.interval",
    ),
    (
        "storage.maintenance.uploadpurging.dryrun",
        true,
        "uploads do expire; `portcullis gc --dry-run` says what would go",
    ),
    ("middleware", true, "there is no middleware"),
    ("reporting", true, "nothing is reported to third parties; read the log"),
    ("http.net", true, "only TCP is served; set `listen`"),
    ("http.prefix", true, "the registry is at /v2/, without a prefix; clients must leave it out"),
    ("http.secret", false, "not needed: uploads need no shared secret"),
    ("http.relativeurls", false, "not needed: URLs are relative always"),
    ("http.headers", false, "headers are as they are"),
    ("http.http2", false, "HTTP/2 is spoken with whoever wants it"),
    ("http.h2c", true, "HTTP/2 without TLS is not spoken"),
    ("http.debug", true, "no debug server and no metrics; for health checks there are /healthz and /readyz"),
    (
        "http.tls.letsencrypt",
        true,
        "no certificates are fetched; let certbot write them and name its files in [tls.files]",
    ),
    ("http.tls.ciphersuites", false, "not needed: only safe ones are spoken"),
    ("http.tls.clientauth", false, "client certificates are not asked for"),
    ("notifications", true, "nobody is notified; let them ask the registry, or read the log"),
    ("redis", false, "not needed: there is no cache to keep"),
    ("health", false, "there are /healthz and /readyz, and `portcullis check --live`"),
    ("compatibility", true, "manifests of schema 1 are refused; push such images again with a client of today"),
    ("validation.enabled", false, "manifests are always validated"),
    ("validation.disabled", true, "manifests are always validated"),
    (
        "validation.manifests.urls",
        true,
        "layers that lie elsewhere are taken as registry:2 takes them; their URLs are not restricted",
    ),
    (
        "validation.manifests.indexes.platformlist",
        true,
        "whole images may be missing from an index, or none; platforms are not told apart",
    ),
    ("policy", true, "media types are not restricted"),
    ("catalog", false, "the catalog is bounded by itself"),
];

/// Goes through all keys, so that none is passed over in silence.
pub(super) fn tell(at: At<'_>, path: &str, migration: &mut Migration) {
    for (key, below) in at.entries() {
        let full = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let inside = |known: &str| known.strip_prefix(&full).is_some_and(|rest| rest.starts_with('.'));
        if CARRIED.contains(&full.as_str()) {
            continue;
        }
        let is_table = CARRIED.iter().any(|known| inside(known)) || TOLD.iter().any(|(known, ..)| inside(known));
        if is_table && below.is_map() {
            tell(below, &full, migration);
        } else if let Some((_, matters, why)) = TOLD.iter().find(|(known, ..)| *known == full) {
            let text = format!("{full}: {why}");
            if *matters { migration.warn(below.line, &text) } else { migration.note(below.line, &text) }
        } else if full.starts_with("proxy.") {
            migration.note(below.line, &format!("{full}: not needed without a proxy"));
        } else if !below.is_null() && !is_table {
            migration.warn(below.line, &format!("{full}: not known here, and not carried over"));
        }
    }
}
