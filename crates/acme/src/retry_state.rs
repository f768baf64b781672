//! Stores the back-off in the ACME folder, so that a restart does not shorten it.
//!
//! A server that is restarted again and again would otherwise order a certificate at each start, until the rate limits
//! of the directory are exhausted.
//!
//! Invariant: an attempt is on the disk as a failure before it begins, so that a crash during an order counts as one.
//! Nothing in the file makes the server wait longer than the longest pause of the back-off.

use std::{
    io,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

use super::schedule::{BackOff, max_pause};
use portcullis_tls::{
    DnsName,
    acme::{AcmeConfig, AcmeFolder, ChallengePreference},
};

/// The back-off of one configuration, in the ACME folder.
pub(super) struct RetryState<'a> {
    folder: &'a AcmeFolder,
    /// The digest of the configuration that the attempts are for.
    configuration: String,
}

/// The content of the file.
#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    configuration: String,
    failures: u32,
    /// The time of the next attempt, in seconds since 1970.
    next_attempt: u64,
}

impl<'a> RetryState<'a> {
    pub(super) fn new(folder: &'a AcmeFolder, config: &AcmeConfig, names: &[DnsName]) -> Self {
        Self { folder, configuration: configuration_digest(config, names) }
    }

    /// Loads the back-off and the rest of its pause. `None` if no attempt failed, or if the failed ones were for
    /// another configuration. An unusable file is logged and treated as missing; the next attempt replaces it.
    pub(super) fn load(&self, now: SystemTime) -> Option<(BackOff, Duration)> {
        let text = self.folder.load_retry().unwrap_or_else(|error| {
            tracing::warn!(%error, file = %self.folder.retry_path().display(), "the record of failed orders cannot be read");
            None
        })?;
        let record: Record = serde_json::from_str(&text)
            .inspect_err(|error| {
                tracing::warn!(%error, file = %self.folder.retry_path().display(), "the record of failed orders is damaged");
            })
            .ok()?;
        if record.configuration != self.configuration {
            return None;
        }
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // The clock may have been set back since.
        let pause = Duration::from_secs(record.next_attempt).saturating_sub(since_epoch).min(max_pause());
        Some((BackOff::resume(record.failures), pause))
    }

    /// Stores that the next attempt may begin `pause` after `now`.
    pub(super) fn save(&self, back_off: BackOff, pause: Duration, now: SystemTime) -> io::Result<()> {
        let next_attempt =
            now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().saturating_add(pause).as_secs();
        let record = Record { configuration: self.configuration.clone(), failures: back_off.failures(), next_attempt };
        let text = serde_json::to_string(&record).map_err(io::Error::other)?;
        self.folder.save_retry(&text)
    }

    /// Forgets the failures.
    pub(super) fn clear(&self) -> io::Result<()> {
        self.folder.remove_retry()
    }
}

/// A digest of everything that an order depends on: after a change of any of it, the next attempt need not wait.
fn configuration_digest(config: &AcmeConfig, names: &[DnsName]) -> String {
    let AcmeConfig { directory, contact, eab, ca, challenge, folder: _ } = config;
    let challenge = match challenge {
        ChallengePreference::Any => "any",
        ChallengePreference::Only(challenge) => challenge.as_str(),
    };
    let eab = eab.as_ref().map(|external| (&external.key_id, external.hmac_key_file.to_string_lossy()));
    let ca = ca.as_ref().map(|path| path.to_string_lossy());
    let names: Vec<&str> = names.iter().map(DnsName::as_str).collect();
    let text = serde_json::json!([directory, names, contact, challenge, ca, eab]).to_string();
    BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use portcullis_tls::acme::{Challenge, ExternalAccount};

    use super::*;

    fn config(folder: &std::path::Path) -> AcmeConfig {
        AcmeConfig {
            directory: "https://acme.test/dir".to_owned(),
            contact: Vec::new(),
            eab: None,
            ca: None,
            challenge: ChallengePreference::Any,
            folder: folder.to_owned(),
        }
    }

    fn names(names: &[&str]) -> Vec<DnsName> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_restart_waits_for_the_rest_of_the_pause_and_no_longer_than_the_longest_one() {
        let above = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(&above.path().join("certs"));
        let config = config(above.path());
        let state = RetryState::new(&folder, &config, &names(&["a.test"]));
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        assert_eq!(state.load(now), None);
        let mut back_off = BackOff::new();
        for _ in 0..3 {
            let pause = back_off.record_failure(false, 0.0);
            state.save(back_off, pause, now).unwrap();
        }
        assert_eq!(state.load(now), Some((BackOff::resume(3), 4 * MINUTE)));
        assert_eq!(state.load(now + 3 * MINUTE), Some((BackOff::resume(3), MINUTE)));
        assert_eq!(state.load(now + 5 * MINUTE), Some((BackOff::resume(3), Duration::ZERO)));
        assert_eq!(
            state.load(now - 100_000 * MINUTE),
            Some((BackOff::resume(3), max_pause())),
            "the clock was set back"
        );
        assert_eq!(state.load(SystemTime::UNIX_EPOCH - MINUTE), Some((BackOff::resume(3), max_pause())));
        state.clear().unwrap();
        assert_eq!(state.load(now), None);
    }

    #[test]
    fn another_configuration_need_not_wait_for_the_failures_of_the_previous_one() {
        let above = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(above.path());
        let config = config(above.path());
        let now = SystemTime::now();
        RetryState::new(&folder, &config, &names(&["a.test"])).save(BackOff::resume(1), MINUTE, now).unwrap();
        let is_loaded =
            |config: &AcmeConfig, wanted: &[&str]| RetryState::new(&folder, config, &names(wanted)).load(now).is_some();
        assert!(is_loaded(&config, &["a.test"]));
        assert!(!is_loaded(&config, &["a.test", "b.test"]));
        let eab = ExternalAccount { key_id: "kid".to_owned(), hmac_key_file: "eab.key".into() };
        for other in [
            AcmeConfig { directory: "https://other.test/dir".to_owned(), ..config.clone() },
            AcmeConfig { contact: vec!["mailto:a@a.test".to_owned()], ..config.clone() },
            AcmeConfig { eab: Some(eab), ..config.clone() },
            AcmeConfig { ca: Some("ca.crt".into()), ..config.clone() },
            AcmeConfig { challenge: ChallengePreference::Only(Challenge::Http01), ..config.clone() },
        ] {
            assert!(!is_loaded(&other, &["a.test"]), "{other:?}");
        }
    }

    #[test]
    fn a_record_that_is_damaged_or_says_forever_delays_nothing_beyond_the_longest_pause() {
        let above = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(above.path());
        let config = config(above.path());
        let state = RetryState::new(&folder, &config, &names(&["a.test"]));
        let now = SystemTime::now();
        for text in ["", "{}", "[", "\u{0}", "{\"failures\":-1}", &"[".repeat(100_000)] {
            std::fs::write(folder.retry_path(), text).unwrap();
            assert_eq!(state.load(now), None);
        }
        std::fs::write(folder.retry_path(), [0xff]).unwrap();
        assert_eq!(state.load(now), None);
        state.save(BackOff::resume(u32::MAX), Duration::MAX, now).unwrap();
        let (mut back_off, pause) = state.load(now).unwrap();
        assert_eq!((pause, back_off.record_failure(false, 1.0)), (max_pause(), max_pause()));
    }
}
