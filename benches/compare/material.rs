//! What all sides are given alike: one certificate, one users file, one cipher.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::programs;

/// The one cipher: what Docker's clients ask for first.
pub(crate) const CIPHER: &str = "TLS_AES_128_GCM_SHA256";

/// Somebody in the users file.
pub(crate) struct User {
    pub(crate) name: &'static str,
    pub(crate) password: &'static str,
    /// Of bcrypt: 2 to the power of this many rounds.
    pub(crate) cost: u32,
}

/// With the cost that Apache's htpasswd takes if it is told nothing.
pub(crate) const ALICE: User = User { name: "alice", password: "wonderland and back", cost: 5 };

/// With the least cost that is recommended.
pub(crate) const BOB: User = User { name: "bob", password: "builder of things", cost: 10 };

/// Files that every server of a run is started with, in a folder of their own.
pub(crate) struct Material {
    folder: PathBuf,
}

impl Material {
    /// Makes them: the keys are those of a first start of Portcullis.
    pub(crate) fn make(folder: &Path) -> Self {
        fs::create_dir(folder).unwrap();
        let material = Self { folder: folder.to_owned() };
        let line = |user: &User| format!("{}:{}\n", user.name, bcrypt::hash(user.password, user.cost).unwrap());
        fs::write(material.users(), [ALICE, BOB].iter().map(line).collect::<String>()).unwrap();
        fs::write(material.openssl(), openssl_configuration()).unwrap();
        material
    }

    /// The users file.
    pub(crate) fn users(&self) -> PathBuf {
        self.folder.join("htpasswd")
    }

    /// The folder of certificates and keys, in Portcullis' layout; empty before its first start.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.join("certs")
    }

    /// The authority that clients trust.
    pub(crate) fn authority(&self) -> PathBuf {
        self.certificates().join("ca.crt")
    }

    /// The certificate of every server.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.certificates().join("server.crt")
    }

    /// Its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.certificates().join("server.key")
    }

    /// A folder that holds the authority and nothing else, as skopeo wants it.
    pub(crate) fn trust(&self) -> PathBuf {
        let folder = self.folder.join("trust");
        fs::create_dir_all(&folder).unwrap();
        fs::copy(self.authority(), folder.join("ca.crt")).unwrap();
        folder
    }

    /// What `OPENSSL_CONF` names for programs that make load.
    pub(crate) fn openssl(&self) -> PathBuf {
        self.folder.join("openssl.cnf")
    }

    /// A program that speaks TLS by OpenSSL, with our cipher.
    pub(crate) fn command(&self, program: &str) -> std::process::Command {
        let mut command = programs::command(program);
        command.env("OPENSSL_CONF", self.openssl());
        command
    }

    /// Stops unless a server does TLS 1.3 with [`CIPHER`] and X25519, when a client can do more.
    pub(crate) fn check_what_is_negotiated(&self, name: &str, port: u16) {
        let mut client = self.command("openssl");
        client.args(["s_client", "-connect", &format!("127.0.0.1:{port}"), "-servername", "localhost", "-CAfile"]);
        let said = programs::output(client.arg(self.authority()));
        for wanted in
            [&format!("New, TLSv1.3, Cipher is {CIPHER}"), "Server Temp Key: X25519", "Verification: OK", "type: ECDSA"]
        {
            assert!(said.contains(wanted), "{name} was to negotiate: {wanted}\n{said}");
        }
    }
}

fn openssl_configuration() -> String {
    format!(
        "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n\
         [tls]\nMinProtocol = TLSv1.3\nCiphersuites = {CIPHER}\nGroups = X25519\n"
    )
}
