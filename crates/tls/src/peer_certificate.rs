//! Describes the certificate of another server for messages: names, issuer, validity.
//!
//! Invariant: nothing here implies that a certificate is trusted; it only reports the certificate's fields.

use std::time::SystemTime;

use portcullis_text::single_line;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

use super::{
    Hostname,
    certificate::{CertificateFields, MAX_NAME_CHARS, date},
};

/// The certificate that a server presents, or an authority's.
#[derive(Clone, Debug)]
pub struct PeerCertificate {
    facts: CertificateFields,
    /// Name of the subject, for messages.
    pub subject: String,
    /// Name of the issuer, for messages.
    pub issuer: String,
    subject_name: Vec<u8>,
    issuer_name: Vec<u8>,
}

impl PeerCertificate {
    /// Parses a certificate; the error is a readable reason.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let facts = CertificateFields::parse(der)?;
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        Ok(Self {
            facts,
            subject: name(parsed.subject()),
            issuer: name(parsed.issuer()),
            subject_name: parsed.subject().as_raw().to_vec(),
            issuer_name: parsed.issuer().as_raw().to_vec(),
        })
    }

    /// Returns the DNS names and IP addresses that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether the certificate is for this host.
    #[must_use]
    pub fn covers(&self, host: &Hostname) -> bool {
        self.facts.covers(host)
    }

    /// Whether the extended key usage permits servers.
    #[must_use]
    pub fn is_for_servers(&self) -> bool {
        self.facts.for_servers
    }

    /// Whether the certificate is marked as an authority.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.facts.is_authority
    }

    /// Whether the certificate is not valid yet.
    #[must_use]
    pub fn is_not_yet_valid(&self, now: SystemTime) -> bool {
        now < self.facts.not_before
    }

    /// Whether the certificate has expired.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        now > self.facts.not_after
    }

    /// Returns the start of the validity, for messages.
    #[must_use]
    pub fn not_before_text(&self) -> String {
        date(self.facts.not_before)
    }

    /// Returns the end of the validity, for messages.
    #[must_use]
    pub fn not_after_text(&self) -> String {
        date(self.facts.not_after)
    }

    /// Whether issuer and subject are the same name.
    #[must_use]
    pub fn is_self_issued(&self) -> bool {
        self.subject_name == self.issuer_name
    }

    /// Whether the certificate names `other` as its issuer. The signature is not verified.
    #[must_use]
    pub fn names_as_issuer(&self, other: &Self) -> bool {
        self.issuer_name == other.subject_name
    }
}

/// Returns the common name, or the whole name if it has none.
fn name(name: &X509Name<'_>) -> String {
    let common = name.iter_common_name().next().and_then(|common| common.as_str().ok());
    let text = common.map_or_else(|| name.to_string(), str::to_owned);
    single_line(&text, MAX_NAME_CHARS)
}
