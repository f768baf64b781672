//! Lists the keys of registry:2 and 3 that are not carried over, each with its reason.

use super::super::unsupported_keys::{KeyTable, differs, missing_setting, not_needed};

/// Every key of registry:2 and 3: carried over or unsupported.
pub(in super::super) static KEYS: KeyTable = KeyTable {
    carried: &[
        "version",
        "auth",
        "http.addr",
        "http.host",
        "http.draintimeout",
        "http.tls.certificate",
        "http.tls.key",
        "http.tls.minimumtls",
        "http.tls.clientcas",
        "http.tls.clientauth",
        "http.tls.letsencrypt",
        "log.level",
        "log.formatter",
        "loglevel",
        "storage.delete",
        "storage.filesystem.rootdirectory",
        "storage.maintenance.readonly",
        "storage.maintenance.uploadpurging.age",
        "storage.maintenance.uploadpurging.enabled",
        "validation.manifests.indexes.platforms",
    ],
    unsupported: &[
        not_needed("log.accesslog", "each request is one line of the log; `level` decides whether it is written"),
        missing_setting(
            "log.fields",
            &["log.fields"],
            "no fields are added to log lines; let the collector of logs add them",
        ),
        missing_setting("log.hooks", &["log.hooks", "log.mail"], "no mail is sent; let the collector of logs do it"),
        missing_setting("storage.s3", &["storage.s3"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.s3aws", &["storage.s3"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.s3-aws", &["storage.s3"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.azure", &["storage.azure"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.gcs", &["storage.gcs", "storage.google"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.swift", &["storage.swift"], OBJECT_STORAGE_ADVICE),
        missing_setting("storage.oss", &["storage.oss"], OBJECT_STORAGE_ADVICE),
        missing_setting(
            "storage.inmemory",
            &["storage.memory", "storage.inmemory"],
            "images are never kept in memory only; name a folder in [storage.filesystem]",
        ),
        not_needed("storage.filesystem.maxthreads", "not needed: concurrent work on the disk is always bounded"),
        not_needed("storage.redirect", "not needed: blobs are always sent by the registry itself"),
        not_needed("storage.cache", "not needed: there is no cache to keep"),
        not_needed("storage.tag", "not needed: lists are always bounded"),
        not_needed(
            "storage.maintenance.uploadpurging.interval",
            "expired uploads are removed by the garbage collection, every registry.gc.interval",
        ),
        differs(
            "storage.maintenance.uploadpurging.dryrun",
            "uploads do expire; `portcullis gc --dry-run` lists what would be removed",
        ),
        missing_setting("middleware", &["middleware"], "there is no middleware"),
        missing_setting(
            "reporting",
            &["reporting", "log.reporting"],
            "nothing is reported to third parties; read the log",
        ),
        missing_setting("http.net", &["unix_socket", "listen_unix"], "only TCP is served; set `listen`"),
        missing_setting(
            "http.prefix",
            &["prefix", "base_path", "path_prefix"],
            "the registry is at /v2/, without a prefix; clients must leave it out",
        ),
        not_needed("http.secret", "not needed: uploads need no shared secret"),
        not_needed("http.relativeurls", "not needed: URLs are relative always"),
        not_needed("http.headers", "response headers are fixed"),
        not_needed("http.http2", "HTTP/2 is served to every client that negotiates it"),
        missing_setting("http.h2c", &["h2c", "plaintext", "plain_http"], "HTTP/2 without TLS is not supported"),
        missing_setting(
            "http.debug",
            &["metrics", "debug", "telemetry", "log.metrics"],
            "no debug server and no metrics; for health checks there are /healthz and /readyz",
        ),
        not_needed("http.tls.ciphersuites", "not needed: only secure ones are enabled"),
        missing_setting(
            "notifications",
            &["notifications", "webhooks", "webhook", "events"],
            "no notifications are sent; poll the registry, or read the log",
        ),
        not_needed("redis", "not needed: there is no cache to keep"),
        not_needed("health", "there are /healthz and /readyz, and `portcullis check --live`"),
        missing_setting(
            "compatibility",
            &["registry.schema1", "compatibility"],
            "manifests of schema 1 are refused; push such images again with a client of today",
        ),
        not_needed("validation.enabled", "manifests are always validated; layers may be at any URL"),
        differs("validation.disabled", "manifests are always validated"),
        missing_setting(
            "validation.manifests.urls",
            &["registry.layer_urls", "registry.urls", "validation"],
            "layers outside of the registry may be at any URL",
        ),
        missing_setting(
            "validation.manifests.indexes.platformlist",
            &["registry.platforms", "registry.sparse_platforms"],
            "whole images may be missing from an index, or none; platforms make no difference",
        ),
        missing_setting(
            "policy.repository.classes",
            &["policy", "registry.media_types", "registry.artifact_types"],
            "access rules have no condition on kinds of images; pushing is off until you add \"push\" to the actions, and then images \
             of every kind",
        ),
        not_needed("catalog", "the catalog is always bounded"),
        missing_setting(
            "proxy.remoteurl",
            &["proxy", "mirror", "mirrors", "registry.proxy", "registry.mirror", "upstream"],
            "nothing is fetched from another registry; what is in the cache can be pulled, and the rest must be pushed",
        ),
        not_needed("proxy.username", "not needed without a proxy"),
        not_needed("proxy.password", "not needed without a proxy"),
        not_needed("proxy.ttl", "not needed without a proxy"),
        not_needed("proxy.exec", "not needed without a proxy"),
    ],
};

const OBJECT_STORAGE_ADVICE: &str = "no object storage: images are stored in a folder; copy the bucket into one, `docker/` at its top, and name it in \
                      [storage.filesystem]";
