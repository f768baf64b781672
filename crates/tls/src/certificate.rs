//! Parses an X.509 certificate once and extracts the fields that this crate uses.
//!
//! Invariant: a [`CertificateFields`] comes from DER that was parsed completely, so most of the crate needs no ASN.1.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_text::single_line;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Oid, oid},
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

use super::{Hostname, der};

/// The longest name in a message, in characters: the issuer of a certificate chose its text.
pub(super) const MAX_NAME_CHARS: usize = 200;

/// Object identifier of the list of signed certificate timestamps (RFC 6962, 3.3).
const SIGNED_TIMESTAMPS: Oid<'static> = oid!(1.3.6.1.4.1.11129.2.4.2);

/// SHA-256 digest of a certificate's DER, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn from_der(der: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, der).as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { ":" };
            write!(f, "{separator}{byte:02X}")?;
        }
        Ok(())
    }
}

/// A parsed certificate: its DER and its fields.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    facts: CertificateFields,
}

impl Certificate {
    /// Parses a certificate; the error is a readable reason.
    pub(super) fn parse(der: CertificateDer<'static>) -> Result<Self, String> {
        let facts = CertificateFields::parse(&der)?;
        Ok(Self { der, facts })
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn facts(&self) -> &CertificateFields {
        &self.facts
    }

    /// Returns the subject in X.509 notation: `CN=registry.example.com`. The issuer of the certificate chose the text.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject_text
    }

    /// Returns the issuer's name as the certificate contains it; the signature is not verified.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.facts.issuer_text
    }

    /// Returns the DNS names (including wildcards) and IP addresses that the certificate is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether a client that connects to `hostname` accepts the certificate's names.
    #[must_use]
    pub fn covers(&self, hostname: &Hostname) -> bool {
        self.facts.covers(hostname)
    }

    /// Whether the certificate may sign other certificates.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.facts.is_authority
    }

    /// Returns the start of the validity.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// Returns the end of the validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// Returns the SHA-256 fingerprint, which people use to identify the certificate.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// Encodes the certificate in PEM, without any other content of its file.
    #[must_use]
    pub fn pem(&self) -> String {
        let text = STANDARD.encode(&self.der);
        let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
        let mut rest = text.as_str();
        while !rest.is_empty() {
            // RFC 7468, section 2: lines of 64 characters. Base64 is ASCII.
            let (line, after) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = after;
        }
        pem.push_str("-----END CERTIFICATE-----\n");
        pem
    }
}

/// The fields of a certificate that this crate uses.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question about an extension, and none excludes another"
)]
pub(super) struct CertificateFields {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// Subject alternative names that are DNS names (including wildcards) or IP addresses.
    pub(super) names: Vec<String>,
    /// Whether the extended key usage is absent, or permits servers.
    pub(super) for_servers: bool,
    pub(super) is_authority: bool,
    pub(super) fingerprint: Fingerprint,
    /// Whether the certificate contains signed certificate timestamps (RFC 6962), which only publicly trusted
    /// authorities add.
    pub(super) has_scts: bool,
    pub(super) has_name_constraints: bool,
    subject_text: String,
    issuer_text: String,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    subject_key: Option<Vec<u8>>,
    pub(super) authority_key: Option<Vec<u8>>,
    /// The contents of the serial number in DER, with the leading zero of a number whose first bit is set.
    pub(super) serial: Vec<u8>,
}

impl CertificateFields {
    /// Parses a certificate; the error is a readable reason.
    pub(super) fn parse(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let usage = parsed.extended_key_usage().map_err(|error| error.to_string())?;
        let (subject_key, authority_key) = key_identifiers(&parsed);
        Ok(Self {
            not_before: system_time(parsed.validity().not_before),
            not_after: system_time(parsed.validity().not_after),
            names: names
                .map(|names| names.value.general_names.iter().filter_map(host_name).collect())
                .unwrap_or_default(),
            for_servers: usage.is_none_or(|usage| usage.value.server_auth || usage.value.any),
            is_authority: parsed.is_ca(),
            fingerprint: Fingerprint::from_der(der),
            has_scts: parsed.extensions().iter().any(|extension| extension.oid == SIGNED_TIMESTAMPS),
            has_name_constraints: !parsed.name_constraints().is_ok_and(|found| found.is_none()),
            subject_text: parsed.subject().to_string(),
            issuer_text: parsed.issuer().to_string(),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject_key,
            authority_key,
            serial: parsed.raw_serial().to_vec(),
        })
    }

    /// Whether the certificate names `authority` as its issuer, by name and by key identifier. This distinguishes
    /// certificates but proves nothing, because the signature is not verified.
    pub(super) fn names_as_issuer(&self, authority: &Self) -> bool {
        self.issuer == authority.subject && self.authority_key.is_some() && self.authority_key == authority.subject_key
    }

    /// Whether issuer and subject are the same name.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether the issuer's name is the subject of `other`. The keys are not compared.
    pub(super) fn has_subject_of_issuer(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Whether both certificates have the same subject.
    pub(super) fn has_same_subject(&self, other: &Self) -> bool {
        self.subject == other.subject
    }

    /// Whether the issuer has the name of an authority in the public root store.
    pub(super) fn has_well_known_issuer(&self) -> bool {
        is_well_known(&self.issuer)
    }

    /// Whether the subject has the name of an authority in the public root store.
    pub(super) fn is_well_known(&self) -> bool {
        is_well_known(&self.subject)
    }

    /// Returns the subject on one line, for messages.
    pub(super) fn subject_line(&self) -> String {
        single_line(&self.subject_text, MAX_NAME_CHARS)
    }

    /// Returns the issuer on one line, for messages.
    pub(super) fn issuer_line(&self) -> String {
        single_line(&self.issuer_text, MAX_NAME_CHARS)
    }

    /// Whether `hostname` itself is among the names, not only a wildcard that covers it.
    pub(super) fn lists_exactly(&self, hostname: &Hostname) -> bool {
        self.names.contains(&hostname.to_string())
    }

    /// Whether a client that connects to `hostname` finds it among the names (RFC 6125: a wildcard is one whole label).
    pub(super) fn covers(&self, hostname: &Hostname) -> bool {
        let wanted = hostname.to_string();
        let parent = match hostname {
            Hostname::Name(name) => name.as_str().split_once('.').map(|(_, parent)| parent),
            Hostname::Address(_) => None,
        };
        self.names.iter().any(|name| *name == wanted || (parent.is_some() && name.strip_prefix("*.") == parent))
    }
}

fn is_well_known(name: &[u8]) -> bool {
    let contents = der::split_first(name).map(|(name, _)| name.contents);
    contents.is_some_and(|name| webpki_roots::TLS_SERVER_ROOTS.iter().any(|root| *root.subject == *name))
}

/// Formats a time in UTC, for messages.
#[must_use]
pub fn date(time: SystemTime) -> String {
    let utc = time::OffsetDateTime::from(time);
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", utc.hour(), utc.minute())
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    // A time before 1970 may be treated as 1970: it is long past either way.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn host_name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => ip_address(octets).map(|address| address.to_string()),
        GeneralName::OtherName(..)
        | GeneralName::RFC822Name(_)
        | GeneralName::X400Address(_)
        | GeneralName::DirectoryName(_)
        | GeneralName::EDIPartyName(_)
        | GeneralName::URI(_)
        | GeneralName::RegisteredID(_)
        | GeneralName::Invalid(..) => None,
    }
}

fn ip_address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// Returns the subject's and the authority's key identifier.
fn key_identifiers(parsed: &X509Certificate<'_>) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
    let (mut subject, mut authority) = (None, None);
    for extension in parsed.extensions() {
        if let ParsedExtension::SubjectKeyIdentifier(key) = extension.parsed_extension() {
            subject = Some(key.0.to_vec());
        }
        if let ParsedExtension::AuthorityKeyIdentifier(key) = extension.parsed_extension() {
            authority = key.key_identifier.as_ref().map(|key| key.0.to_vec());
        }
    }
    (subject, authority)
}
