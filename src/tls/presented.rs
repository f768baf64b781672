//! What a client reads in the certificate of another server.
//!
//! Invariant: nothing here says that a certificate is to be trusted; it says what stands in it.

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::{
    Hostname,
    certificate::{Facts, date},
};

/// The certificate that a server presents, or an authority's.
#[derive(Clone, Debug)]
pub struct Presented {
    facts: Facts,
    /// Whom it is about, for people.
    pub subject: String,
    /// Who issued it, for people.
    pub issuer: String,
    subject_name: Vec<u8>,
    issuer_name: Vec<u8>,
}

impl Presented {
    /// Reads a certificate; the error is a reason for people.
    pub fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let facts = Facts::read(der)?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        Ok(Self {
            facts,
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            subject_name: parsed.subject().as_raw().to_vec(),
            issuer_name: parsed.issuer().as_raw().to_vec(),
        })
    }

    /// The DNS names and IP addresses that it is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether it is for this host.
    #[must_use]
    pub fn covers(&self, host: &Hostname) -> bool {
        self.facts.covers(host)
    }

    /// Whether servers may use it.
    #[must_use]
    pub fn is_for_servers(&self) -> bool {
        self.facts.for_servers
    }

    /// Whether it is marked as an authority.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.facts.is_authority
    }

    /// Whether its time has not come yet.
    #[must_use]
    pub fn is_early(&self, now: SystemTime) -> bool {
        now < self.facts.not_before
    }

    /// Whether its time is over.
    #[must_use]
    pub fn is_late(&self, now: SystemTime) -> bool {
        now > self.facts.not_after
    }

    /// When its time begins, for people.
    #[must_use]
    pub fn begins(&self) -> String {
        date(self.facts.not_before)
    }

    /// When its time ends, for people.
    #[must_use]
    pub fn ends(&self) -> String {
        date(self.facts.not_after)
    }

    /// Whether it names itself as its issuer.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_name == self.issuer_name
    }

    /// Whether it says that this one issued it. The signature is not looked at.
    #[must_use]
    pub fn names_as_issuer(&self, other: &Self) -> bool {
        self.issuer_name == other.subject_name
    }
}

/// The common name, or everything where there is none.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    // Whoever made the certificate chose the text, and a terminal obeys what it is told.
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(200).collect()
}
