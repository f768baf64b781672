//! Files and settings that all servers share: the certificate, the users file, the TLS cipher.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::external_programs;

/// The only TLS cipher: the first choice of Docker's clients.
pub(crate) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// A user in the users file.
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    /// The cost of bcrypt: the binary logarithm of the number of rounds.
    pub(crate) cost: u32,
}

/// A user with the default cost of Apache's htpasswd.
pub(crate) const ALICE: User = User { name: "alice", password: "wonderland and back", cost: 5 };

/// A user with the lowest recommended cost.
pub(crate) const BOB: User = User { name: "bob", password: "builder of things", cost: 10 };

/// The folder of the files that every server of a run uses.
pub(crate) struct Fixtures {
    folder: PathBuf,
}

impl Fixtures {
    /// Creates the files. The keys and certificates are added by a first start of Portcullis.
    pub(crate) fn make(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let material = Self { folder: folder.to_owned() };
        let line = |user: &User| format!("{}:{}\n", user.name, bcrypt::hash(user.password, user.cost).unwrap());
        fs::write(material.users_file(), [ALICE, BOB].iter().map(line).collect::<String>()).unwrap();
        fs::write(material.openssl_config(), openssl_configuration()).unwrap();
        material
    }

    /// The path of the users file.
    pub(crate) fn users_file(&self) -> PathBuf {
        self.folder.join("htpasswd")
    }

    /// The folder of certificates and keys, in Portcullis' layout; empty before its first start.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// The certificate of the authority that clients trust.
    pub(crate) fn ca_certificate(&self) -> PathBuf {
        self.certificates().join("ca.crt")
    }

    /// The certificate of every server.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.certificates().join("server.crt")
    }

    /// The private key of that certificate.
    pub(crate) fn key(&self) -> PathBuf {
        self.certificates().join("server.key")
    }

    /// A folder with only the certificate of the authority, for skopeo's `--cert-dir`.
    pub(crate) fn ca_folder(&self) -> PathBuf {
        let folder = self.folder.join("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.ca_certificate(), folder.join("ca.crt")).unwrap();
        folder
    }

    /// The OpenSSL configuration of the programs that make load (`OPENSSL_CONF`).
    pub(crate) fn openssl_config(&self) -> PathBuf {
        self.folder.join("openssl.cnf")
    }

    /// A command that uses TLS by OpenSSL, restricted to [`CIPHER`].
    pub(crate) fn command(&self, program: &str) -> std::process::Command {
        let mut command = external_programs::command(program);
        command.env("OPENSSL_CONF", self.openssl_config());
        command
    }

    /// Panics unless a server negotiates TLS 1.3 with [`CIPHER`] and X25519 with a client that offers them.
    pub(crate) fn check_tls_parameters(&self, name: &str, port: u16) {
        let mut client = self.command("openssl");
        client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost", "-CAfile"]);
        let said = external_programs::output(client.arg(self.ca_certificate()));
        for wanted in
            [&format!("New, TLSv1.3, Cipher is {CIPHER}"), "Server Temp Key: X25519", "Verification: OK", "type: ECDSA"]
        {
            assert!(said.contains(wanted), "{name} should negotiate: {wanted}\n{said}");
        }
    }
}

fn openssl_configuration() -> String {
    format!(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n\
         [tls]\nMinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\nGroups = X25519\n"
    )
}
