//! Stores the ACME account and the issued certificate between starts.
//!
//! Invariant: each is one file, written atomically and readable by its owner only. Key and chain always belong to the
//! same order.
//!
//! ```text
//! acme.pem            the private key, then the certificate with its chain
//! acme-account.json   the account and its key, for one directory
//! acme-retry.json     the failed attempts since the last certificate, and the time of the next one
//! ```

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use zeroize::Zeroizing;

use super::{
    super::{
        ServerIdentity, SourceError,
        atomic_write::{self, FileReaders},
        pem_files,
    },
    IssuedCertificate,
};

/// Limit for the file of failed attempts, in bytes; a written one has about 150.
const MAX_RETRY_BYTES: u64 = 4096;

/// The folder of the account and the certificate.
#[derive(Clone, Debug)]
pub struct AcmeFolder {
    path: PathBuf,
}

impl AcmeFolder {
    /// Creates a handle; the folder need not exist.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns the path of the certificate and its key.
    #[must_use]
    pub fn certificate_path(&self) -> PathBuf {
        self.path.join("acme.pem")
    }

    /// Returns the path of the account.
    #[must_use]
    pub fn account_path(&self) -> PathBuf {
        self.path.join("acme-account.json")
    }

    /// Returns the path of the record of failed attempts.
    #[must_use]
    pub fn retry_path(&self) -> PathBuf {
        self.path.join("acme-retry.json")
    }

    /// Loads the certificate; `None` if there is none.
    pub fn load(&self, now: SystemTime) -> Result<Option<ServerIdentity>, SourceError> {
        let path = self.certificate_path();
        if !path.exists() {
            return Ok(None);
        }
        pem_files::load_files(&path, &path, now).map(Some)
    }

    /// Saves a certificate.
    pub fn save(&self, issued: &IssuedCertificate) -> io::Result<()> {
        self.write(&self.certificate_path(), &issued.pem)
    }

    /// Loads the account; `None` if there is none.
    pub fn load_account(&self) -> io::Result<Option<Zeroizing<String>>> {
        match fs::read_to_string(self.account_path()) {
            Ok(text) => Ok(Some(Zeroizing::new(text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Saves an account.
    pub fn save_account(&self, text: &str) -> io::Result<()> {
        self.write(&self.account_path(), text)
    }

    /// Loads the record of failed attempts; `None` if there is none.
    pub fn load_retry(&self) -> io::Result<Option<String>> {
        let mut text = String::new();
        match fs::File::open(self.retry_path()) {
            Ok(file) => file.take(MAX_RETRY_BYTES).read_to_string(&mut text).map(|_| Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Saves the record of failed attempts. It is on the disk when this returns.
    pub fn save_retry(&self, text: &str) -> io::Result<()> {
        self.write(&self.retry_path(), text)
    }

    /// Removes the record of failed attempts, if there is one.
    pub fn remove_retry(&self) -> io::Result<()> {
        match fs::remove_file(self.retry_path()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Checks that the folder can be written. Callers do this before an order: a certificate that cannot be saved would
    /// be ordered again and again, and directories have rate limits.
    pub fn check_writable(&self) -> io::Result<()> {
        let probe = self.path.join(".acme-probe");
        self.write(&probe, "")?;
        fs::remove_file(&probe)
    }

    fn write(&self, path: &Path, text: &str) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        atomic_write::write(path, text, FileReaders::Owner)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::{
        super::{super::Hostname, placeholder::generate_pem},
        *,
    };

    #[test]
    fn what_was_kept_is_found_again_and_is_its_owners_alone() {
        let above = tempfile::tempdir().unwrap();
        let folder = AcmeFolder::new(&above.path().join("certs"));
        let now = SystemTime::now();
        assert!(folder.load(now).unwrap().is_none() && folder.load_account().unwrap().is_none());
        folder.check_writable().unwrap();

        let names: Vec<Hostname> = vec!["a.example".parse().unwrap()];
        let (certificate, key) = generate_pem(&names, now).unwrap();
        let identity = super::super::placeholder(&names, now).unwrap();
        let pem = Zeroizing::new(format!("{}{}", key.as_str(), certificate));
        folder.save(&IssuedCertificate { identity, pem }).unwrap();
        folder.save_account("{}").unwrap();
        assert_eq!(folder.load(now).unwrap().unwrap().names(), ["a.example"]);
        assert_eq!(folder.load_account().unwrap().unwrap().as_str(), "{}");
        assert_eq!(folder.load_retry().unwrap(), None);
        folder.save_retry("[]").unwrap();
        assert_eq!(folder.load_retry().unwrap().as_deref(), Some("[]"));
        folder.remove_retry().unwrap();
        folder.remove_retry().unwrap();
        for path in [folder.certificate_path(), folder.account_path()] {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(above.path().join("certs").read_dir().unwrap().count(), 2, "no probe and no temporary file stays");
    }

    #[test]
    fn a_folder_that_cannot_be_written_says_so_before_an_order() {
        let above = tempfile::tempdir().unwrap();
        std::fs::write(above.path().join("file"), "").unwrap();
        assert!(AcmeFolder::new(&above.path().join("file")).check_writable().is_err());
    }
}
