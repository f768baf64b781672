//! Writes the table of all error codes, and of the codes that the engine's errors become.

use std::fmt::Write as _;

use portcullis::{
    api::{ApiError, ErrorCode},
    oci::{Algorithm, Digest},
    registry::Error,
    storage::{StoreError, StoreErrorKind},
};

use super::assert_golden;

#[test]
fn every_code_has_its_status_and_every_failure_its_code() {
    let mut text = "The codes, each with its status.\n\n".to_owned();
    for code in ErrorCode::ALL {
        writeln!(text, "{} {:<27} {code:?}", code.status().as_u16(), code.as_str()).unwrap();
    }
    text += "\nWhat the engine's failures become.\n";
    for (name, failure) in every_engine_error() {
        let error = ApiError::from(failure);
        writeln!(text, "\n{name}\n{} {}", error.code().status().as_u16(), error.body()).unwrap();
    }
    text += "\nAn error with a detail.\n\n";
    let detailed = ApiError::new(ErrorCode::Denied, "a message").with_detail(serde_json::json!({"user": "alice"}));
    writeln!(text, "{}", detailed.body()).unwrap();
    assert_golden("errors.txt", &text);
}

/// One value of each variant. The match makes the compiler require each new variant here.
fn every_engine_error() -> Vec<(&'static str, Error)> {
    let (digest, other) = (Digest::compute(Algorithm::Sha256, b"one"), Digest::compute(Algorithm::Sha256, b"another"));
    let store = |kind| Error::from(StoreError::new(kind, "write docker/registry/v2/secret/path"));
    let all = vec![
        Error::NameUnknown("team/app".parse().unwrap()),
        Error::BlobUnknown(digest),
        Error::ManifestUnknown("latest".parse().unwrap()),
        Error::UploadUnknown,
        Error::UploadBusy { offset: 5 },
        Error::ChunkOutOfOrder { start: 7, offset: 5 },
        Error::SizeMismatch { announced: 7, received: 5 },
        Error::DigestMismatch { claimed: digest, actual: other },
        Error::ManifestInvalid(portcullis::oci::Manifest::parse(None, b"{}").unwrap_err()),
        Error::ManifestReferencesUnknown(vec![digest, other]),
        Error::Body("the client is gone".to_owned()),
        store(StoreErrorKind::NoSpace),
        store(StoreErrorKind::NotWritable),
        store(StoreErrorKind::Unavailable),
        store(StoreErrorKind::Corrupt),
        Error::Interrupted,
    ];
    let named: Vec<_> = all.into_iter().map(|error| (name(&error), error)).collect();
    for name in NAMES {
        assert!(named.iter().any(|(found, _)| found == name), "{name} should be among the failures");
    }
    named
}

macro_rules! names {
    ($($variant:ident),+ $(,)?) => {
        const NAMES: &[&str] = &[$(stringify!($variant)),+];

        fn name(error: &Error) -> &'static str {
            match error {
                $(Error::$variant { .. } => stringify!($variant)),+
            }
        }
    };
}

names! {
    NameUnknown, BlobUnknown, ManifestUnknown, UploadUnknown, UploadBusy, ChunkOutOfOrder, SizeMismatch, DigestMismatch,
    ManifestInvalid, ManifestReferencesUnknown, Body, StoreFull, StoreNotWritable, StoreUnavailable, StoreDamaged,
    Interrupted,
}
