//! The facts of one X.509 certificate that we ask about, read once.
//!
//! Invariant: a [`Facts`] comes from DER that parsed completely, so nobody else in the crate touches ASN.1.

use std::{
    fmt,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    asn1_rs::{Oid, oid},
    extensions::{GeneralName, ParsedExtension},
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

use super::{Hostname, der};

/// The object identifier of the list of signed certificate timestamps (RFC 6962, 3.3).
const SIGNED_TIMESTAMPS: Oid<'static> = oid!(1.3.6.1.4.1.11129.2.4.2);

/// The SHA-256 digest of a certificate's DER, as `openssl x509 -fingerprint -sha256` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    pub(super) fn of(der: &[u8]) -> Self {
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

/// A certificate as it lies in a file, and what it says.
#[derive(Clone, Debug)]
pub struct Certificate {
    der: CertificateDer<'static>,
    facts: Facts,
}

impl Certificate {
    /// Reads a certificate; the error is a reason for people.
    pub(super) fn read(der: CertificateDer<'static>) -> Result<Self, String> {
        let facts = Facts::read(&der)?;
        Ok(Self { der, facts })
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whom it is about, as X.509 writes it: `CN=registry.example.com`. Whoever made it chose the text.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject_text
    }

    /// Who signed it, or so it says.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.facts.issuer_text
    }

    /// The DNS names (wildcards included) and IP addresses that it is for.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.facts.names
    }

    /// Whether a client that connects to `hostname` will accept its names.
    #[must_use]
    pub fn covers(&self, hostname: &Hostname) -> bool {
        self.facts.covers(hostname)
    }

    /// Whether it may sign other certificates.
    #[must_use]
    pub fn is_authority(&self) -> bool {
        self.facts.is_authority
    }

    /// It is valid from this time on.
    #[must_use]
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// It is valid up to this time.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// By which a person recognises it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.facts.fingerprint
    }

    /// The certificate, and nothing else that may have been in its file, in PEM.
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

/// What a certificate says.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each answers a question about an extension, and none excludes another"
)]
pub(super) struct Facts {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    /// Subject alternative names that are DNS names (wildcards included) or IP addresses.
    pub(super) names: Vec<String>,
    /// The extended key usage is absent, or admits servers.
    pub(super) for_servers: bool,
    pub(super) is_authority: bool,
    pub(super) fingerprint: Fingerprint,
    /// It holds proofs of its publication (RFC 6962), which only authorities that everybody trusts have made.
    pub(super) is_logged: bool,
    pub(super) has_name_constraints: bool,
    subject_text: String,
    issuer_text: String,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    subject_key: Option<Vec<u8>>,
    authority_key: Option<Vec<u8>>,
}

impl Facts {
    /// Reads a certificate; the error is a reason for people.
    pub(super) fn read(der: &CertificateDer<'_>) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
        let usage = parsed.extended_key_usage().map_err(|error| error.to_string())?;
        let (subject_key, authority_key) = key_identifiers(&parsed);
        Ok(Self {
            not_before: system_time(parsed.validity().not_before),
            not_after: system_time(parsed.validity().not_after),
            names: names.map(|names| names.value.general_names.iter().filter_map(name).collect()).unwrap_or_default(),
            for_servers: usage.is_none_or(|usage| usage.value.server_auth || usage.value.any),
            is_authority: parsed.is_ca(),
            fingerprint: Fingerprint::of(der),
            is_logged: parsed.extensions().iter().any(|extension| extension.oid == SIGNED_TIMESTAMPS),
            has_name_constraints: !parsed.name_constraints().is_ok_and(|found| found.is_none()),
            subject_text: parsed.subject().to_string(),
            issuer_text: parsed.issuer().to_string(),
            subject: parsed.subject().as_raw().to_vec(),
            issuer: parsed.issuer().as_raw().to_vec(),
            subject_key,
            authority_key,
        })
    }

    /// Whether `authority` is named as this certificate's issuer, by name and by key. This tells certificates apart; it
    /// proves nothing, for the signature is not checked.
    pub(super) fn names_as_issuer(&self, authority: &Self) -> bool {
        self.issuer == authority.subject && self.authority_key.is_some() && self.authority_key == authority.subject_key
    }

    /// Whether it has its own name as its issuer's.
    pub(super) fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    /// Whether the issuer has the name of `other`. The keys are not looked at.
    pub(super) fn has_issuer_named(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Whether both are about the same name.
    pub(super) fn has_name_of(&self, other: &Self) -> bool {
        self.subject == other.subject
    }

    /// Whether the issuer has the name of an authority that clients know of their own accord.
    pub(super) fn has_well_known_issuer(&self) -> bool {
        is_well_known(&self.issuer)
    }

    /// Whether the subject has the name of an authority that clients know of their own accord.
    pub(super) fn is_well_known(&self) -> bool {
        is_well_known(&self.subject)
    }

    /// The subject for people, on one line.
    pub(super) fn subject_line(&self) -> String {
        line(&self.subject_text)
    }

    /// The issuer for people, on one line.
    pub(super) fn issuer_line(&self) -> String {
        line(&self.issuer_text)
    }

    /// Whether `hostname` itself is among the names, not only a wildcard for it.
    pub(super) fn names_exactly(&self, hostname: &Hostname) -> bool {
        self.names.contains(&hostname.to_string())
    }

    /// Whether a client that was told `hostname` finds it in this certificate (RFC 6125: a wildcard is one whole label).
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
    let contents = der::split(name).map(|(name, _)| name.contents);
    contents.is_some_and(|name| webpki_roots::TLS_SERVER_ROOTS.iter().any(|root| *root.subject == *name))
}

/// The issuer of a certificate chose its text, and a terminal obeys control characters.
fn line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(200).collect()
}

/// The date and time in UTC, for people.
#[must_use]
pub fn date(time: SystemTime) -> String {
    let utc = time::OffsetDateTime::from(time);
    let (year, month, day) = (utc.year(), u8::from(utc.month()), utc.day());
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", utc.hour(), utc.minute())
}

pub(super) fn system_time(time: ASN1Time) -> SystemTime {
    // Before 1970 is long expired or long valid either way.
    SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn name(general: &GeneralName<'_>) -> Option<String> {
    match general {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets).map(|address| address.to_string()),
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

fn address(octets: &[u8]) -> Option<IpAddr> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Some(octets.into());
    }
    <[u8; 16]>::try_from(octets).ok().map(IpAddr::from)
}

/// The subject's and the authority's key identifier.
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
