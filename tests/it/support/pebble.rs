//! Runs Pebble, Let's Encrypt's ACME server for tests, and the DNS server that it uses.
//!
//! Invariant: each has ports and directories of its own, on loopback; it validates on the ports of its
//! [`PebbleConfig`].

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::daemon::Daemon;
use super::tool_command::require;
use super::{ToolCommand, free_port};

/// The parameters of a Pebble server.
pub(crate) struct PebbleConfig {
    /// The port of the ACME directory.
    pub(crate) port: u16,
    /// The port that it validates `tls-alpn-01` on.
    pub(crate) tls: u16,
    /// The port that it validates `http-01` on.
    pub(crate) http: u16,
    /// The lifetime of its certificates, in seconds.
    pub(crate) certificate_lifetime_seconds: u32,
    /// The percentage of valid nonces that it refuses.
    pub(crate) refused_nonces_percent: u32,
    /// The address that its DNS returns for every name.
    pub(crate) dns_address: &'static str,
    /// The key identifier and the HMAC key, in base64url, of the only external account that new accounts may be bound
    /// to; `None` if it requires no binding.
    pub(crate) external_account: Option<(&'static str, &'static str)>,
}

impl PebbleConfig {
    /// The defaults, with these validation ports.
    pub(crate) fn new(tls: u16, http: u16) -> Self {
        let day = 24 * 60 * 60;
        Self {
            port: free_port::free(),
            tls,
            http,
            certificate_lifetime_seconds: 90 * day,
            refused_nonces_percent: 0,
            dns_address: "127.0.0.1",
            external_account: None,
        }
    }
}

/// A running Pebble; dropping it ends it.
pub(crate) struct Pebble {
    daemon: Daemon,
    _dns: Daemon,
    plan: PebbleConfig,
    dns_management: u16,
    management: u16,
    folder: TempDir,
}

impl Pebble {
    pub(crate) fn start(plan: PebbleConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (management, dns, dns_management) = (free_port::free(), free_port::free(), free_port::free());
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        fs::write(folder.path().join("own.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.path().join("own.key"), key.serialize_pem()).unwrap();
        let config = serde_json::json!({ "pebble": {
            "listenAddress": format!("127.0.0.1:{}", plan.port),
            "managementListenAddress": format!("127.0.0.1:{management}"),
            "certificate": "own.crt",
            "privateKey": "own.key",
            "httpPort": plan.http,
            "tlsPort": plan.tls,
            "certificateValidityPeriod": plan.certificate_lifetime_seconds,
            "externalAccountBindingRequired": plan.external_account.is_some(),
            "externalAccountMACKeys": plan.external_account.into_iter().collect::<BTreeMap<_, _>>(),
        }});
        fs::write(folder.path().join("config.json"), config.to_string()).unwrap();

        let mut names = Command::new(require("pebble-challtestsrv"));
        names.args(["-dns01", &format!("127.0.0.1:{dns}"), "-management", &format!("127.0.0.1:{dns_management}")]);
        names.args([
            "-http01",
            "",
            "-https01",
            "",
            "-tlsalpn01",
            "",
            "-defaultIPv6",
            "",
            "-defaultIPv4",
            plan.dns_address,
        ]);
        let mut names = Daemon::start(names, folder.path().join("dns.log"));
        names.wait_until(|| listens(dns_management));
        let mut directory = Command::new(require("pebble"));
        directory.args(["-config", "config.json", "-dnsserver", &format!("127.0.0.1:{dns}")]);
        directory.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        directory.env("PEBBLE_WFE_NONCEREJECT", plan.refused_nonces_percent.to_string()).current_dir(folder.path());
        let mut daemon = Daemon::start(directory, folder.path().join("log"));
        daemon.wait_until(|| listens(plan.port) && listens(management));
        Self { daemon, _dns: names, plan, dns_management, management, folder }
    }

    /// The configuration table that orders certificates from it.
    pub(crate) fn table(&self) -> String {
        table(self.plan.port, &self.ca())
    }

    /// The URL of the directory.
    pub(crate) fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/dir", self.plan.port)
    }

    /// The certificate of the directory's own HTTPS.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("own.crt")
    }

    /// The current root of the certificates that it issues: each start makes another one.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.folder.path().join("root.crt");
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let got = ToolCommand::new("curl").args(["-sS", "-f", "--cacert"]).args([&self.ca()]).args([&url]).run_ok();
        fs::write(&path, got.stdout).unwrap();
        path
    }

    /// Makes DNS return this address for every name from now on.
    pub(crate) fn set_dns_address(&self, address: &str) {
        let url = format!("http://127.0.0.1:{}/set-default-ipv4", self.dns_management);
        let body = serde_json::json!({ "ip": address }).to_string();
        ToolCommand::new("curl").args(["-sS", "-f", "-d", &body, &url]).run_ok();
    }

    /// The number of certificates that it has issued.
    pub(crate) fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// Its output so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }
}

/// The configuration table that orders certificates from a directory on this port.
pub(crate) fn table(port: u16, ca: &Path) -> String {
    format!("[tls.acme]\ndirectory = \"https://127.0.0.1:{port}/dir\"\nca = \"{}\"\n", ca.display())
}

fn listens(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}
