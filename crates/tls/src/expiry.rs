//! Calculates when certificates expire, and when to warn the operator.
//!
//! Invariant: the log, `portcullis check` and `portcullis cert show` judge a certificate by this one rule.

use std::{
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{Certificate, IdentityStore, ServerIdentity};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long before its end a server's certificate causes a warning.
const SERVER_WARNING_PERIOD: Duration = Duration::from_secs(14 * 24 * 60 * 60);
/// How long before its end this server's own authority causes a warning: a new one must be installed on every client.
const AUTHORITY_WARNING_PERIOD: Duration = Duration::from_secs(180 * 24 * 60 * 60);

/// Validity period of one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// First name that the certificate is for, or else its subject.
    pub name: String,
    /// File that the certificate was read from.
    pub file: Option<PathBuf>,
    /// Whether the certificate is an authority, which is never renewed automatically.
    pub is_authority: bool,
    /// Start of the validity.
    pub not_before: SystemTime,
    /// End of the validity.
    pub not_after: SystemTime,
}

/// How close a certificate is to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryStatus {
    /// The certificate is valid and does not expire soon.
    Valid,
    /// The certificate expires soon enough for a warning.
    ExpiringSoon,
    /// The certificate has expired.
    Expired,
}

impl Expiry {
    /// Returns the validity period of a certificate that was read from `file`.
    #[must_use]
    pub fn from_certificate(certificate: &Certificate, file: Option<&Path>) -> Self {
        let name = certificate.names().first().map_or_else(|| certificate.subject(), String::as_str);
        Self {
            name: name.to_owned(),
            file: file.map(Path::to_owned),
            is_authority: certificate.is_authority(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        }
    }

    /// Returns the whole days left, rounded down; negative after the end.
    #[must_use]
    pub fn days_left(&self, now: SystemTime) -> i64 {
        self.seconds_left(now).div_euclid(DAY.as_secs().cast_signed())
    }

    /// Returns the seconds left, negative after the end; the value of a metric.
    #[must_use]
    pub fn seconds_left(&self, now: SystemTime) -> i64 {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        self.not_after.duration_since(now).map_or_else(|over| -seconds(over.duration()), seconds)
    }

    /// Returns how close the certificate is to its end. A warning starts in the last two weeks, or in the last third of
    /// a certificate that is valid for days only, because such certificates are renewed in their last third.
    #[must_use]
    pub fn status(&self, now: SystemTime) -> ExpiryStatus {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        let notice = if self.is_authority { AUTHORITY_WARNING_PERIOD } else { SERVER_WARNING_PERIOD }.min(life / 3);
        if now > self.not_after {
            ExpiryStatus::Expired
        } else if now + notice >= self.not_after {
            ExpiryStatus::ExpiringSoon
        } else {
            ExpiryStatus::Valid
        }
    }
}

impl ServerIdentity {
    /// Returns the validity period of the certificate.
    #[must_use]
    pub fn expiry(&self) -> Expiry {
        Expiry {
            name: self.names().first().cloned().unwrap_or_default(),
            file: self.file().map(Path::to_owned),
            is_authority: false,
            not_before: self.not_before(),
            not_after: self.not_after(),
        }
    }
}

impl IdentityStore {
    /// Returns the validity periods of all certificates, and of this server's own authority if it issued them.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry> {
        let authority = self.first().authority().map(|authority| {
            let beside = |file: &Path| file.with_file_name("ca.crt");
            Expiry::from_certificate(authority, self.first().file().map(beside).as_deref())
        });
        self.iter().map(|identity| identity.expiry()).chain(authority).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasting(days: u32) -> Expiry {
        let not_before = SystemTime::UNIX_EPOCH;
        let not_after = not_before + DAY * days;
        Expiry { name: "a.test".to_owned(), file: None, is_authority: false, not_before, not_after }
    }

    #[test]
    fn the_last_fourteen_days_are_near_and_what_comes_after_is_over() {
        let (expiry, begin) = (lasting(90), SystemTime::UNIX_EPOCH);
        for (days, left, nearness) in
            [(0, 90, ExpiryStatus::Valid), (75, 15, ExpiryStatus::Valid), (76, 14, ExpiryStatus::ExpiringSoon)]
        {
            assert_eq!((expiry.days_left(begin + DAY * days), expiry.status(begin + DAY * days)), (left, nearness));
        }
        assert_eq!(expiry.status(begin + DAY * 90), ExpiryStatus::ExpiringSoon);
        let over = begin + DAY * 90 + Duration::from_secs(1);
        assert_eq!((expiry.days_left(over), expiry.seconds_left(over)), (-1, -1));
        assert_eq!(expiry.status(over), ExpiryStatus::Expired);
    }

    #[test]
    fn a_certificate_of_six_days_is_near_its_end_in_its_last_two() {
        let (expiry, begin) = (lasting(6), SystemTime::UNIX_EPOCH);
        assert_eq!(expiry.status(begin + DAY * 3), ExpiryStatus::Valid);
        assert_eq!(expiry.status(begin + DAY * 4), ExpiryStatus::ExpiringSoon);
    }

    #[test]
    fn an_authority_is_spoken_of_half_a_year_before_its_end() {
        let expiry = Expiry { is_authority: true, ..lasting(3650) };
        let begin = SystemTime::UNIX_EPOCH;
        assert_eq!(expiry.status(begin + DAY * (3650 - 181)), ExpiryStatus::Valid);
        assert_eq!(expiry.status(begin + DAY * (3650 - 180)), ExpiryStatus::ExpiringSoon);
    }
}
