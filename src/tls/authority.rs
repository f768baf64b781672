//! The self-made certificate authority, and the server certificate that it signs.
//!
//! Invariant: an authority that exists is never touched or replaced. Clients were told to trust it; a new one would lock
//! all of them out at once, so whoever wants that has to remove the old one by hand.
//!
//! ```text
//! ca.crt       the authority, ten years; this is what clients get
//! ca.key       its key, 0600; needed only for renewal
//! server.crt   the server's certificate
//! server.key   its key, 0600; a new one with every renewal
//! ```

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use aws_lc_rs::rand::SecureRandom;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};

use super::{
    Hostname, Identity, Loaded, SourceError,
    certificate::{Facts, date},
    files::{self, Readers},
    identity::{Material, Unfit},
    source,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// As long as a private authority is commonly kept; replacing it means a visit to every client.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Short, because renewal needs nobody: what leaks is of use for a season at most. (Apple's clients, the strictest, refuse
/// more than 825 days.)
const LEAF_LIFE: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// Certificates begin in the past, for clients whose clock is behind ours.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// Makes what is missing below `directory`, renews the server's certificate when two thirds of its life are over or the
/// host names changed, and loads it.
pub fn ensure(
    directory: &Path,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<Loaded, AuthorityError> {
    if hostnames.is_empty() {
        return Err(AuthorityError::NoHostnames);
    }
    let files = Files::below(directory);
    files.check_halves()?;
    if !files.authority.exists() {
        std::fs::create_dir_all(directory).map_err(|source| AuthorityError::write(directory, source))?;
        create_authority(&files, hostnames, now, random)?;
        let identity = issue(&files, hostnames, now, random)?;
        return Ok(Loaded { identity, authority_is_new: true, certificate_is_new: true });
    }
    if let Some(identity) = current(&files, hostnames, now)? {
        return Ok(Loaded { identity, authority_is_new: false, certificate_is_new: false });
    }
    let identity = issue(&files, hostnames, now, random)?;
    Ok(Loaded { identity, authority_is_new: false, certificate_is_new: true })
}

/// The four files.
struct Files {
    authority: PathBuf,
    authority_key: PathBuf,
    leaf: PathBuf,
    leaf_key: PathBuf,
}

impl Files {
    fn below(directory: &Path) -> Self {
        Self {
            authority: directory.join("ca.crt"),
            authority_key: directory.join("ca.key"),
            leaf: directory.join("server.crt"),
            leaf_key: directory.join("server.key"),
        }
    }

    /// Refuses folders from which something was taken away. `ca.key` alone may be missing: a careful operator keeps it
    /// elsewhere between renewals.
    fn check_halves(&self) -> Result<(), AuthorityError> {
        let lone = |present: &Path, missing: &Path| AuthorityError::Half {
            present: present.to_owned(),
            missing: missing.to_owned(),
        };
        let (leaf, leaf_key) = (self.leaf.exists(), self.leaf_key.exists());
        if !self.authority.exists() {
            // Making a new authority here would orphan what the old one signed, or the old one itself.
            return match [&self.authority_key, &self.leaf, &self.leaf_key].into_iter().find(|path| path.exists()) {
                Some(present) => Err(lone(present, &self.authority)),
                None => Ok(()),
            };
        }
        match (leaf, leaf_key) {
            (true, false) => Err(lone(&self.leaf, &self.leaf_key)),
            (false, true) => Err(lone(&self.leaf_key, &self.leaf)),
            (true, true) | (false, false) => Ok(()),
        }
    }
}

/// The certificate on disk, if it is ours and will do; `None` if it is ours (or not there) and wants to be made anew.
fn current(files: &Files, hostnames: &[Hostname], now: SystemTime) -> Result<Option<Identity>, AuthorityError> {
    if !files.leaf.exists() {
        return Ok(None);
    }
    let authority = read_facts(&files.authority)?;
    let chain = source::read_chain(&files.leaf)?;
    let leaf = chain.first().ok_or_else(|| SourceError::NoCertificate { path: files.leaf.clone() })?;
    let leaf = Facts::read(leaf).map_err(|reason| SourceError::Certificate { path: files.leaf.clone(), reason })?;
    if !leaf.names_as_issuer(&authority) {
        return Err(AuthorityError::Foreign { leaf: files.leaf.clone(), authority: files.authority.clone() });
    }
    let material = Material { chain, key: source::read_key(&files.leaf_key)? };
    let identity = match material.identity(now) {
        Ok(identity) => identity,
        // Time has passed, or a renewal was interrupted between its two files.
        Err(Unfit::Expired(_) | Unfit::NotYetValid(_) | Unfit::KeyMismatch) => return Ok(None),
        Err(
            unfit @ (Unfit::NoCertificate
            | Unfit::Certificate(_)
            | Unfit::Key(_)
            | Unfit::NoNames
            | Unfit::NotForServers),
        ) => return Err(SourceError::of(unfit, &files.leaf, &files.leaf_key).into()),
    };
    let wanted = hostnames.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let named = identity.names().iter().cloned().collect::<BTreeSet<_>>();
    let keep = wanted == named && !identity.is_due(now);
    Ok(keep.then(|| identity.issued_by(&authority)))
}

fn read_facts(path: &Path) -> Result<Facts, SourceError> {
    let chain = source::read_chain(path)?;
    let first = chain.first().ok_or_else(|| SourceError::NoCertificate { path: path.to_owned() })?;
    Facts::read(first).map_err(|reason| SourceError::Certificate { path: path.to_owned(), reason })
}

fn create_authority(
    files: &Files,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<(), AuthorityError> {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    params.serial_number = Some(serial(random)?);
    // The random part tells two authorities for the same host apart in a client's list.
    let place = hostnames.first().map_or_else(|| "localhost".to_owned(), ToString::to_string);
    params.distinguished_name = common_name(&format!("Portcullis CA {:08x} for {place}", number(random)?));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    write(&files.authority_key, &key.serialize_pem(), Readers::Owner, random)?;
    write(&files.authority, &certificate.pem(), Readers::Everybody, random)
}

fn issue(
    files: &Files,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<Identity, AuthorityError> {
    let (issuer, authority) = open_authority(files, now)?;
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATED).max(authority.not_before).into();
    params.not_after = (now + LEAF_LIFE).min(authority.not_after).into();
    params.serial_number = Some(serial(random)?);
    params.subject_alt_names = hostnames.iter().map(subject_alternative_name).collect::<Result<_, _>>()?;
    let first = hostnames.first().ok_or(AuthorityError::NoHostnames)?.to_string();
    // Nobody reads the Common Name any more, and it holds 64 characters at most (RFC 5280, appendix A.1).
    params.distinguished_name = common_name(if first.len() <= 64 { &first } else { "Portcullis" });
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;

    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    // Key first: interrupted here, the next start finds a pair that does not match and makes both anew.
    write(&files.leaf_key, &key.serialize_pem(), Readers::Owner, random)?;
    write(&files.leaf, &certificate.pem(), Readers::Everybody, random)?;
    Ok(source::load_files(&files.leaf, &files.leaf_key, now)?.issued_by(&authority))
}

/// The authority with its key, checked to be one that can sign now.
fn open_authority(files: &Files, now: SystemTime) -> Result<(Issuer<'static, KeyPair>, Facts), AuthorityError> {
    if !files.authority_key.exists() {
        let (present, missing) = (files.authority.clone(), files.authority_key.clone());
        return Err(AuthorityError::Half { present, missing });
    }
    let chain = source::read_chain(&files.authority)?;
    let certificate =
        chain.into_iter().next().ok_or_else(|| SourceError::NoCertificate { path: files.authority.clone() })?;
    let facts = read_facts(&files.authority)?;
    if !facts.is_authority {
        return Err(AuthorityError::NoAuthority { path: files.authority.clone() });
    }
    if now + DAY > facts.not_after {
        return Err(AuthorityError::Expired { path: files.authority.clone(), not_after: facts.not_after });
    }
    let key = source::read_key(&files.authority_key)?;
    let pair = KeyPair::try_from(&key)?;
    let matches = rustls::sign::CertifiedKey::from_der(vec![certificate.clone()], key, &super::policy::provider());
    if matches.is_err() {
        let (certificate, key) = (files.authority.clone(), files.authority_key.clone());
        return Err(SourceError::KeyMismatch { certificate, key }.into());
    }
    Ok((Issuer::from_ca_cert_der(&certificate, pair)?, facts))
}

fn subject_alternative_name(hostname: &Hostname) -> Result<SanType, rcgen::Error> {
    match hostname {
        Hostname::Name(name) => Ok(SanType::DnsName(name.as_str().try_into()?)),
        Hostname::Address(address) => Ok(SanType::IpAddress(*address)),
    }
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, text);
    name
}

/// Sixteen random bytes, positive and without leading zeros (RFC 5280, 4.1.2.2).
fn serial(random: &dyn SecureRandom) -> Result<SerialNumber, AuthorityError> {
    let mut bytes = [0; 16];
    random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    bytes[0] = bytes[0] & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

fn number(random: &dyn SecureRandom) -> Result<u32, AuthorityError> {
    let mut bytes = [0; 4];
    random.fill(&mut bytes).map_err(|_| AuthorityError::Random)?;
    Ok(u32::from_be_bytes(bytes))
}

fn write(path: &Path, contents: &str, readers: Readers, random: &dyn SecureRandom) -> Result<(), AuthorityError> {
    files::write(path, contents, readers, random).map_err(|source| AuthorityError::write(path, source))
}

/// Why the self-made authority could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file is there without the one that belongs to it.
    #[error("{present} is there, but {missing} is missing")]
    Half {
        /// The file that is there.
        present: PathBuf,
        /// The file that belongs to it.
        missing: PathBuf,
    },
    /// The server's certificate was not issued by the authority beside it.
    #[error("{leaf}: this certificate was not issued by {authority}")]
    Foreign {
        /// The server's certificate.
        leaf: PathBuf,
        /// The authority.
        authority: PathBuf,
    },
    /// `ca.crt` is a certificate, but not an authority's.
    #[error("{path}: this certificate is not a certificate authority")]
    NoAuthority {
        /// The file.
        path: PathBuf,
    },
    /// The authority's time is over (or ends within a day).
    #[error("{path}: the certificate authority expires on {}", date(*.not_after))]
    Expired {
        /// The file.
        path: PathBuf,
        /// Valid until then.
        not_after: SystemTime,
    },
    /// There is no host name to make a certificate for.
    #[error("a certificate needs at least one host name")]
    NoHostnames,
    /// One of the files cannot be used.
    #[error(transparent)]
    File(#[from] SourceError),
    /// A file or the folder cannot be written.
    #[error("{path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The certificate could not be made.
    #[error("the certificate could not be made: {0}")]
    Generate(#[from] rcgen::Error),
}

impl AuthorityError {
    fn write(path: &Path, source: io::Error) -> Self {
        Self::Write { path: path.to_owned(), source }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Half { present, missing } => format!(
                "put {} back; or, to start anew, remove {} (after a new ca.crt every client must be told to trust it)",
                missing.display(),
                present.display()
            ),
            Self::Foreign { .. } => {
                "a certificate of your own belongs in [tls.files] (--tls-cert, --tls-key); to have one made here, remove \
                 server.crt and server.key"
                    .to_owned()
            }
            Self::NoAuthority { .. } => "put the authority's own certificate there".to_owned(),
            Self::Expired { .. } => {
                "remove ca.crt, ca.key, server.crt and server.key to have all made anew, then give the new ca.crt to clients"
                    .to_owned()
            }
            Self::NoHostnames => "name one with --hostname".to_owned(),
            Self::File(error) => error.hint(),
            Self::Write { .. } => "let the user who runs this write there, or name another folder with --certs".to_owned(),
            Self::Random | Self::Generate(_) => "this is not your doing; please report it".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use aws_lc_rs::rand::SystemRandom;

    use super::*;

    fn hostnames() -> Vec<Hostname> {
        ["registry.test", "10.0.0.1", "::1"].map(|name| name.parse().unwrap()).to_vec()
    }

    fn ensure_at(folder: &Path, now: SystemTime) -> Result<Loaded, AuthorityError> {
        ensure(folder, &hostnames(), now, &SystemRandom::new())
    }

    fn bytes(folder: &Path, name: &str) -> Vec<u8> {
        std::fs::read(folder.join(name)).unwrap()
    }

    fn openssl(folder: &Path, arguments: &str) -> String {
        let ran = std::process::Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("openssl is needed: apt-get install openssl");
        assert!(ran.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8(ran.stdout).unwrap()
    }

    #[test]
    fn the_first_start_makes_an_authority_and_a_certificate_that_openssl_accepts_strictly() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = ensure_at(&folder.path().join("certs"), SystemTime::now()).unwrap();
        assert!(loaded.authority_is_new && loaded.certificate_is_new);
        assert!(hostnames().iter().all(|name| loaded.identity.covers(name)));

        let certs = folder.path().join("certs");
        for address in ["-verify_hostname registry.test", "-verify_ip 10.0.0.1", "-verify_ip ::1"] {
            let verify = format!("verify -x509_strict -purpose sslserver {address} -CAfile ca.crt server.crt");
            openssl(&certs, &verify);
        }
        let fingerprint = openssl(&certs, "x509 -in ca.crt -noout -fingerprint -sha256");
        let ours = loaded.identity.authority_fingerprint().unwrap().to_string();
        assert!(fingerprint.contains(&ours), "{fingerprint} {ours}");
        let text = openssl(&certs, "x509 -in ca.crt -noout -text");
        assert!(text.contains("CA:TRUE, pathlen:0") && text.contains("Certificate Sign, CRL Sign"), "{text}");
    }

    #[test]
    fn private_keys_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        for key in ["ca.key", "server.key"] {
            let mode = folder.path().join(key).metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }

    #[test]
    fn the_second_start_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = ensure_at(folder.path(), now).unwrap();
        let second = ensure_at(folder.path(), now + 59 * DAY).unwrap();
        assert!(!second.authority_is_new && !second.certificate_is_new);
        assert_eq!(first.identity.fingerprint(), second.identity.fingerprint());
        assert_eq!(first.identity.authority_fingerprint(), second.identity.authority_fingerprint());
    }

    #[test]
    fn after_two_thirds_of_its_life_the_certificate_is_renewed_by_the_same_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        ensure_at(folder.path(), now).unwrap();
        let (authority, leaf) = (bytes(folder.path(), "ca.crt"), bytes(folder.path(), "server.crt"));
        for later in [now + 61 * DAY, now + 200 * DAY] {
            let renewed = ensure_at(folder.path(), later).unwrap();
            assert!(renewed.certificate_is_new && !renewed.authority_is_new);
            assert!(renewed.identity.not_after() > later + 89 * DAY);
        }
        assert_eq!(authority, bytes(folder.path(), "ca.crt"));
        assert_ne!(leaf, bytes(folder.path(), "server.crt"));
    }

    #[test]
    fn a_new_host_name_means_a_new_certificate() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        let names = ["other.test".parse().unwrap()];
        let loaded = ensure(folder.path(), &names, SystemTime::now(), &SystemRandom::new()).unwrap();
        assert!(loaded.certificate_is_new);
        assert_eq!(loaded.identity.names(), ["other.test"]);
    }

    #[test]
    fn without_the_authoritys_key_all_is_well_until_renewal_is_due() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        ensure_at(folder.path(), now).unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(!ensure_at(folder.path(), now).unwrap().certificate_is_new);
        let error = ensure_at(folder.path(), now + 61 * DAY).unwrap_err();
        assert!(error.to_string().contains("ca.key is missing"), "{error}");
    }

    #[test]
    fn a_folder_from_which_something_was_taken_is_refused_and_nothing_is_made() {
        for missing in ["ca.crt", "server.crt", "server.key"] {
            let folder = tempfile::tempdir().unwrap();
            ensure_at(folder.path(), SystemTime::now()).unwrap();
            std::fs::remove_file(folder.path().join(missing)).unwrap();
            let error = ensure_at(folder.path(), SystemTime::now()).unwrap_err();
            assert!(error.to_string().contains(&format!("{missing} is missing")), "{error}");
            assert!(error.hint().starts_with("put "));
            assert!(!folder.path().join(missing).exists());
        }
    }

    #[test]
    fn a_renewal_interrupted_between_its_two_files_is_repeated() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        std::fs::write(folder.path().join("server.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        assert!(ensure_at(folder.path(), SystemTime::now()).unwrap().certificate_is_new);
    }

    #[test]
    fn somebody_elses_certificate_is_not_overwritten() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        ensure_at(ours.path(), SystemTime::now()).unwrap();
        ensure_at(theirs.path(), SystemTime::now()).unwrap();
        for name in ["server.crt", "server.key"] {
            std::fs::copy(theirs.path().join(name), ours.path().join(name)).unwrap();
        }
        let error = ensure_at(ours.path(), SystemTime::now()).unwrap_err();
        assert!(matches!(error, AuthorityError::Foreign { .. }), "{error}");
        assert_eq!(bytes(ours.path(), "server.key"), bytes(theirs.path(), "server.key"));
    }

    #[test]
    fn an_authority_at_its_end_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        ensure_at(folder.path(), now).unwrap();
        let error = ensure_at(folder.path(), now + AUTHORITY_LIFE).unwrap_err();
        assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
    }
}
