//! Verifies the server's certificate chain as each client would, and explains why it is not trusted.
//!
//! Invariant: a chain is trusted only if rustls' own verifier accepts it for this host and time, or if the server's
//! certificate itself, byte for byte, is among the trusted ones, as Go allows. A server certificate that is marked as
//! an authority, which Go allows too, is trusted if every signature up to a trusted authority was verified.

use std::{fs, path::PathBuf, sync::Arc, time::SystemTime};

use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
};

use super::{Diagnosis, RegistryTarget, client_trust::ClientTrustSettings};
use portcullis_tls::{self as tls, ChainFault, Hostname, PeerCertificate, date};

/// The certificate chain that the server presented.
pub(super) struct PresentedChain {
    certificates: Vec<CertificateDer<'static>>,
    pub(super) leaf: PeerCertificate,
    /// The same certificates in the order from subject to issuer; `None` if one of them cannot be parsed.
    order: Option<tls::Chain>,
}

impl PresentedChain {
    pub(super) fn read(certificates: Vec<CertificateDer<'static>>) -> Result<Self, Diagnosis> {
        let unreadable = |reason: String| {
            Diagnosis::new(
                format!("the server's certificate cannot be read: {reason}"),
                "have it issued again as an X.509 version 3 certificate",
            )
        };
        let first = certificates.first().ok_or_else(|| unreadable("it sends none".to_owned()))?;
        let leaf = PeerCertificate::parse(first).map_err(unreadable)?;
        let order = tls::Chain::parse(&certificates, &[]).ok();
        Ok(Self { certificates, leaf, order })
    }

    /// Faults of a trusted chain that other clients may reject, each with a hint.
    pub(super) fn notes(&self, now: SystemTime) -> Vec<String> {
        let faults = self.order.as_ref().map(|order| order.faults(now)).unwrap_or_default();
        // An issuer that is missing in the chain is in the trusted file, so it is no fault.
        let is_note = |fault: &ChainFault| !fault.is_doubtful();
        faults.iter().filter(|fault| is_note(fault)).map(|fault| format!("{fault}: {}", fault.hint())).collect()
    }

    /// The server's own certificate.
    pub(super) fn server_certificate(&self) -> &CertificateDer<'static> {
        &self.certificates[0]
    }

    /// The fault of the server's own certificate that no trust setting can repair: names, time, or key usage.
    pub(super) fn check_leaf(&self, target: &RegistryTarget, now: SystemTime) -> Option<Diagnosis> {
        let (leaf, host) = (&self.leaf, &target.host);
        if leaf.names().is_empty() {
            return Some(Diagnosis::new(
                format!(
                    "the certificate of \"{}\" has no subject alternative name: clients report \"certificate relies on legacy Common \
                     Name field, use SANs instead\"",
                    leaf.subject
                ),
                format!("have it issued again with the subject alternative name {}", subject_alternative_name(target)),
            ));
        }
        if !leaf.covers(host) {
            return Some(Diagnosis::new(
                format!("the certificate is not for {host}; it is for {}", join_first(leaf.names())),
                format!(
                    "use a name that the certificate has, or have it issued again with {} too; a Portcullis with a \
                     self-signed one does so when {host} is in its hostnames",
                    subject_alternative_name(target)
                ),
            ));
        }
        if leaf.is_expired(now) {
            return Some(Diagnosis::new(
                format!("the certificate has expired on {}", leaf.not_after_text()),
                format!("renew it on the server; or set this machine's clock, which is at {}", date(now)),
            ));
        }
        if leaf.is_not_yet_valid(now) {
            return Some(Diagnosis::new(
                format!("the certificate is not yet valid: it begins on {}", leaf.not_before_text()),
                format!("set this machine's clock, which is at {}, or the clock of the issuer", date(now)),
            ));
        }
        if !leaf.is_for_servers() {
            return Some(Diagnosis::new(
                "the certificate is not meant for servers",
                "have it issued again with the extended key usage serverAuth",
            ));
        }
        None
    }

    /// The trusted file that contains the chain's authority, or the fault if there is none.
    pub(super) fn verify(
        &self,
        trust: &ClientTrustSettings,
        target: &RegistryTarget,
        now: SystemTime,
    ) -> Result<PathBuf, Diagnosis> {
        let mut authorities = Vec::new();
        for path in trust.registry_files.iter().chain(&trust.system_file) {
            let found = read_certificates(path).map_err(|error| unusable_authority(path, &error))?;
            if found.is_empty() && trust.registry_files.contains(path) {
                return Err(unusable_authority(path, "there is no certificate in it"));
            }
            if self.is_trusted_by(&found, target, now) {
                return Ok(path.clone());
            }
            authorities.extend(found);
        }
        Err(self.check_chain(now).unwrap_or_else(|| self.diagnose_unknown_authority(&authorities, trust, now)))
    }

    /// A fault in the chain that the server sends, which no trust setting can repair.
    fn check_chain(&self, now: SystemTime) -> Option<Diagnosis> {
        let faults = self.order.as_ref()?.faults(now);
        let diagnose = |fault: &ChainFault| match fault {
            ChainFault::Expired { .. } | ChainFault::NotYetValid { .. } => {
                let words = "x509: certificate has expired or is not yet valid";
                let clock = format!("; or set this machine's clock, which is at {}", date(now));
                Some(Diagnosis::new(format!("{words}: {fault}"), format!("on the server: {}{clock}", fault.hint())))
            }
            ChainFault::NotAnAuthority { .. } => {
                Some(Diagnosis::new(fault, format!("on the server: {}", fault.hint())))
            }
            ChainFault::ServerIsAuthority { .. }
            | ChainFault::Missing { .. }
            | ChainFault::Expiring { .. }
            | ChainFault::OutOfOrder { .. }
            | ChainFault::Unused { .. } => None,
        };
        faults.iter().find_map(diagnose)
    }

    fn is_trusted_by(&self, authorities: &[CertificateDer<'static>], target: &RegistryTarget, now: SystemTime) -> bool {
        if authorities.contains(self.server_certificate()) {
            return true;
        }
        // rustls rejects an authority as a server certificate; Go, in which every client here is written, accepts it.
        if self.leaf.is_authority() {
            let leads_to = |authority| self.order.as_ref().is_some_and(|order| order.leads_to(authority, now));
            return authorities.iter().any(leads_to);
        }
        // rustls does not check the validity period of a trusted authority; Go does.
        let is_in_time = |der: &&CertificateDer<'_>| {
            PeerCertificate::parse(der)
                .is_ok_and(|authority| !authority.is_expired(now) && !authority.is_not_yet_valid(now))
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().filter(is_in_time).cloned());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build() else {
            return false;
        };
        let Ok(name) = ServerName::try_from(target.host.to_string()) else { return false };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let moment = UnixTime::since_unix_epoch(since);
        verifier.verify_server_cert(self.server_certificate(), &self.certificates[1..], &name, &[], moment).is_ok()
    }

    /// The fault of a chain without a trusted authority: the authority is unknown, was replaced or has expired, or an
    /// intermediate is missing.
    fn diagnose_unknown_authority(
        &self,
        authorities: &[CertificateDer<'static>],
        trust: &ClientTrustSettings,
        now: SystemTime,
    ) -> Diagnosis {
        let words = "x509: certificate signed by unknown authority";
        let read = |der: &CertificateDer<'_>| PeerCertificate::parse(der).ok();
        if self.leaf.is_self_issued() {
            return Diagnosis::new(
                format!("{words}: it is signed by itself, and not trusted on this machine"),
                format!("with the server's certificate as ca.crt: {}", trust.remedy),
            );
        }
        // The last certificate of the sent chain: its issuer is the authority that must be trusted here.
        let top = self.order.as_ref().and_then(|order| read(self.certificates.get(order.top_index(now))?));
        let top = top.unwrap_or_else(|| self.leaf.clone());
        let issuer = &top.issuer;
        let namesake = authorities
            .iter()
            .filter_map(read)
            .find(|authority| top.names_as_issuer(authority) || self.leaf.names_as_issuer(authority));
        if let Some(authority) = namesake {
            if authority.is_expired(now) || authority.is_not_yet_valid(now) {
                return Diagnosis::new(
                    format!(
                        "x509: certificate has expired or is not yet valid: the authority \"{}\" that is trusted here is valid from {} \
                         to {}",
                        authority.subject,
                        authority.not_before_text(),
                        authority.not_after_text()
                    ),
                    format!(
                        "fetch the authority's current ca.crt, then: {}; or set this machine's clock, which is at {}",
                        trust.remedy,
                        date(now)
                    ),
                );
            }
            return Diagnosis::new(
                format!(
                    "{words}: an authority called \"{}\" is trusted here, but another one of that name signed it",
                    authority.subject
                ),
                format!("the server has a new authority: fetch its ca.crt again, then: {}", trust.remedy),
            );
        }
        let is_broken = self.certificates.len() > 1 && !top.is_self_issued();
        if !top.is_self_issued() && (!trust.registry_files.is_empty() || is_broken) {
            let files = trust
                .registry_files
                .iter()
                .chain(&trust.system_file)
                .map(|path| path.display().to_string())
                .collect::<Vec<_>>();
            return Diagnosis::new(
                format!(
                    "{words}: \"{}\" is signed by \"{issuer}\", which is neither in {} nor sent by the server: the chain is not \
                     complete, or the file is not the right one",
                    top.subject,
                    join_first(&files)
                ),
                format!(
                    "if \"{issuer}\" is an intermediate, append its certificate to the server's certificate file; if it is the \
                     authority itself, put its certificate there as ca.crt: {}",
                    trust.remedy
                ),
            );
        }
        Diagnosis::new(
            format!("{words}: not trusted on this machine: \"{issuer}\""),
            format!(
                "copy ca.crt from the server (Portcullis keeps it in its folder of certificates), then: {}; if \"{issuer}\" is an \
                 intermediate, append its certificate to the server's certificate file",
                trust.remedy
            ),
        )
    }
}

/// Reads the certificates of a file; other blocks are ignored, as clients do.
fn read_certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = fs::read(path).map_err(|error| error.to_string())?;
    Ok(CertificateDer::pem_slice_iter(&text).filter_map(Result::ok).collect())
}

fn unusable_authority(path: &std::path::Path, reason: &str) -> Diagnosis {
    Diagnosis::new(
        format!("the authority {} cannot be used: {reason}", path.display()),
        "it must be readable by every user, and begin with -----BEGIN CERTIFICATE-----",
    )
}

/// The missing subject alternative name, in the notation of `openssl`.
fn subject_alternative_name(target: &RegistryTarget) -> String {
    match &target.host {
        Hostname::Name(name) => format!("DNS:{name}"),
        Hostname::Address(address) => format!("IP:{address}"),
    }
}

/// The first eight names, and the number of the others.
fn join_first(names: &[String]) -> String {
    let more = if names.len() > 8 { format!(" and {} more", names.len() - 8) } else { String::new() };
    format!("{}{more}", names.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", "))
}
