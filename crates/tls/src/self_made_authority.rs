//! Manages the self-made certificate authority in a folder: creates it once and renews the server certificate that it
//! signs.
//!
//! Invariant: an existing authority is never changed or replaced. Clients trust it; a new one would lock out all of
//! them at once, so an operator who intends that must remove the old one by hand.
//!
//! ```text
//! ca.crt       the authority, ten years; this is what clients get
//! ca.key       its key, 0600; needed only for renewal
//! server.crt   the server's certificate
//! server.key   its key, 0600; a new one with every renewal
//! ```

use std::{collections::BTreeSet, path::Path, time::SystemTime};

use aws_lc_rs::rand::SecureRandom;

use super::{
    AuthorityError, Hostname, LoadedIdentities, ServerIdentity, SourceError,
    authority_files::{AuthorityFiles, path_exists},
    generate::{create_authority, issue},
    pem_files::{self, read_first},
    server_identity::{IdentityError, UncheckedIdentity},
};

/// Generates the missing files below `directory`, renews the server's certificate if two thirds of its validity are
/// over or the host names have changed, and loads it.
pub fn load_or_create(
    directory: &Path,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<LoadedIdentities, AuthorityError> {
    if hostnames.is_empty() {
        return Err(AuthorityError::NoHostnames);
    }
    if !path_exists(directory) {
        std::fs::create_dir_all(directory).map_err(|source| AuthorityError::from_write_error(directory, source))?;
    }
    let _alone = lock_dir(directory);
    let files = AuthorityFiles::in_dir(directory);
    files.check_complete()?;
    let authority_is_new = !path_exists(&files.authority);
    if authority_is_new {
        create_authority(&files, hostnames, now, random)?;
    } else if let Some(identity) = load_current(&files, hostnames, now)? {
        return Ok(LoadedIdentities { identity, others: Vec::new(), authority_is_new, certificate_is_new: false });
    }
    let identity = issue(&files, hostnames, now, random)?;
    Ok(LoadedIdentities { identity, others: Vec::new(), authority_is_new, certificate_is_new: true })
}

/// Generates a new certificate for the server now, signed by the existing authority, even if the old one is still
/// valid.
pub fn renew(
    directory: &Path,
    hostnames: &[Hostname],
    now: SystemTime,
    random: &dyn SecureRandom,
) -> Result<ServerIdentity, AuthorityError> {
    let _alone = lock_dir(directory);
    let files = AuthorityFiles::in_dir(directory);
    files.check_complete()?;
    if !path_exists(&files.authority) {
        return Err(AuthorityError::Missing { path: files.authority });
    }
    // An unreadable certificate may be replaced; one that another authority signed may not.
    if let Ok(leaf) = read_first(&files.leaf) {
        files.check_issuer(&leaf, &read_first(&files.authority)?)?;
    }
    issue(&files, hostnames, now, random)
}

/// Locks the folder against `portcullis cert renew` and other servers until the guard is dropped. On a file system
/// without locks, the worst result is a key of one process and a certificate of the other; the next call detects that
/// and generates both again.
fn lock_dir(directory: &Path) -> Option<std::fs::File> {
    let folder = std::fs::File::open(directory).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

/// Loads the certificate on disk if it can still be used; `None` if it is missing or must be generated again.
fn load_current(
    files: &AuthorityFiles,
    hostnames: &[Hostname],
    now: SystemTime,
) -> Result<Option<ServerIdentity>, AuthorityError> {
    if !path_exists(&files.leaf) {
        return Ok(None);
    }
    let authority = read_first(&files.authority)?;
    files.check_issuer(&read_first(&files.leaf)?, &authority)?;
    let (lines, chain) = pem_files::read_chain_with_lines(&files.leaf)?.into_iter().unzip();
    let material = UncheckedIdentity { chain, lines, key: pem_files::read_key(&files.leaf_key)? };
    let identity = match material.check(now) {
        Ok(identity) => identity,
        // It has expired, or a renewal was interrupted between its two files.
        Err(IdentityError::Expired(_) | IdentityError::NotYetValid(_) | IdentityError::KeyMismatch(_)) => {
            return Ok(None);
        }
        Err(
            unfit @ (IdentityError::NoCertificate
            | IdentityError::Certificate(_)
            | IdentityError::Key(_)
            | IdentityError::NoNames
            | IdentityError::NotForServers),
        ) => return Err(SourceError::from_identity_error(unfit, &files.leaf, &files.leaf_key).into()),
    };
    let wanted = hostnames.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let named = identity.names().iter().cloned().collect::<BTreeSet<_>>();
    let keep = wanted == named && !identity.is_renewal_due(now);
    Ok(keep.then(|| identity.with_file(&files.leaf).with_authority(authority)))
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, time::Duration};

    use aws_lc_rs::rand::SystemRandom;
    use rcgen::KeyPair;

    use super::{super::generate::AUTHORITY_VALIDITY, *};

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn hostnames() -> Vec<Hostname> {
        ["registry.test", "10.0.0.1", "::1"].map(|name| name.parse().unwrap()).to_vec()
    }

    fn ensure_at(folder: &Path, now: SystemTime) -> Result<LoadedIdentities, AuthorityError> {
        load_or_create(folder, &hostnames(), now, &SystemRandom::new())
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
    fn a_client_that_trusts_the_authority_once_trusts_every_certificate_of_its_ten_years() {
        let folder = tempfile::tempdir().unwrap();
        let start = SystemTime::now();
        ensure_at(folder.path(), start).unwrap();
        std::fs::copy(folder.path().join("ca.crt"), folder.path().join("trusted.crt")).unwrap();
        let (mut now, mut names, mut made) = (start, hostnames(), 1);
        while now + 100 * DAY < start + AUTHORITY_VALIDITY {
            now += 59 * DAY;
            let loaded = load_or_create(folder.path(), &names, now, &SystemRandom::new()).unwrap();
            made += u32::from(loaded.certificate_is_new);
            let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            openssl(
                folder.path(),
                &format!(
                    "verify -x509_strict -attime {seconds} -verify_hostname registry.test -CAfile trusted.crt server.crt"
                ),
            );
            // The names change from time to time; the clients still need no new authority.
            names.push(format!("name-{made}.test").parse().unwrap());
        }
        assert!(made > 50, "{made}");
    }

    #[test]
    fn a_renewal_that_is_asked_for_makes_a_new_certificate_by_the_same_authority() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let first = ensure_at(folder.path(), now).unwrap().identity;
        let second = renew(folder.path(), &hostnames(), now, &SystemRandom::new()).unwrap();
        assert_ne!(first.fingerprint(), second.fingerprint());
        assert_eq!(first.authority_fingerprint(), second.authority_fingerprint());
        let kept = ensure_at(folder.path(), now).unwrap();
        assert!(!kept.certificate_is_new && kept.identity.fingerprint() == second.fingerprint());
    }

    #[test]
    fn a_renewal_makes_no_authority_and_writes_over_nobody_elses_certificate() {
        let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let renewed = |folder: &Path| renew(folder, &hostnames(), SystemTime::now(), &SystemRandom::new());
        assert!(matches!(renewed(ours.path()), Err(AuthorityError::Missing { .. })));
        assert_eq!(ours.path().read_dir().unwrap().count(), 0);
        ensure_at(ours.path(), SystemTime::now()).unwrap();
        ensure_at(theirs.path(), SystemTime::now()).unwrap();
        std::fs::copy(theirs.path().join("server.crt"), ours.path().join("server.crt")).unwrap();
        assert!(matches!(renewed(ours.path()), Err(AuthorityError::OtherIssuer { .. })));
        assert_eq!(bytes(ours.path(), "server.crt"), bytes(theirs.path(), "server.crt"));
    }

    #[test]
    fn starts_and_renewals_at_the_same_time_leave_a_certificate_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let folder = folder.path();
                scope.spawn(move || {
                    let names = [format!("name-{number}.test").parse().unwrap()];
                    let made = if number % 2 == 0 {
                        renew(folder, &names, SystemTime::now(), &SystemRandom::new()).unwrap()
                    } else {
                        load_or_create(folder, &names, SystemTime::now(), &SystemRandom::new()).unwrap().identity
                    };
                    assert_eq!(made.names(), [format!("name-{number}.test")]);
                });
            }
        });
        pem_files::load_files(&folder.path().join("server.crt"), &folder.path().join("server.key"), SystemTime::now())
            .unwrap();
    }

    #[test]
    fn what_is_published_of_an_authority_is_its_certificate_even_if_its_file_holds_the_key_too() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        let certificate = std::fs::read_to_string(folder.path().join("ca.crt")).unwrap();
        let key = std::fs::read_to_string(folder.path().join("ca.key")).unwrap();
        std::fs::write(folder.path().join("ca.crt"), format!("{key}{certificate}")).unwrap();
        let identity = ensure_at(folder.path(), SystemTime::now()).unwrap().identity;
        assert_eq!(identity.authority().unwrap().pem(), certificate.replace("\r\n", "\n"));
    }

    #[test]
    fn a_new_host_name_means_a_new_certificate() {
        let folder = tempfile::tempdir().unwrap();
        ensure_at(folder.path(), SystemTime::now()).unwrap();
        let names = ["other.test".parse().unwrap()];
        let loaded = load_or_create(folder.path(), &names, SystemTime::now(), &SystemRandom::new()).unwrap();
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
        assert!(matches!(error, AuthorityError::OtherIssuer { .. }), "{error}");
        assert_eq!(bytes(ours.path(), "server.key"), bytes(theirs.path(), "server.key"));
    }

    #[test]
    fn a_link_into_nowhere_is_not_replaced_by_a_new_authority() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nowhere/ca.crt", folder.path().join("ca.crt")).unwrap();
        assert!(matches!(ensure_at(folder.path(), SystemTime::now()), Err(AuthorityError::Incomplete { .. })));
    }

    #[test]
    fn a_long_host_name_makes_certificates_that_openssl_accepts() {
        let folder = tempfile::tempdir().unwrap();
        let name = format!("{0}.{0}.example", "a".repeat(60));
        load_or_create(folder.path(), &[name.parse().unwrap()], SystemTime::now(), &SystemRandom::new()).unwrap();
        openssl(folder.path(), &format!("verify -x509_strict -verify_hostname {name} -CAfile ca.crt server.crt"));
    }

    #[test]
    fn an_authority_at_its_end_is_refused_and_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        ensure_at(folder.path(), now).unwrap();
        let error = ensure_at(folder.path(), now + AUTHORITY_VALIDITY).unwrap_err();
        assert!(matches!(error, AuthorityError::Expired { .. }), "{error}");
    }
}
