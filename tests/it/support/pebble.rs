//! Pebble, Let's Encrypt's own ACME server for tests, and the DNS that it believes.
//!
//! One invariant: each has ports and folders of its own, on the loopback; it validates on the ports that it was told.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::daemon::Daemon;
use super::tool::require;
use super::{Tool, port};

const STARTING: Duration = Duration::from_secs(20);

/// How to start one.
pub(crate) struct Plan {
    /// Where the directory listens.
    pub(crate) port: u16,
    /// Where it looks for `tls-alpn-01`.
    pub(crate) tls: u16,
    /// Where it looks for `http-01`.
    pub(crate) http: u16,
    /// How many seconds its certificates live.
    pub(crate) life: u32,
    /// How many of a hundred good nonces it refuses.
    pub(crate) refused_nonces: u32,
    /// Where DNS sends everybody.
    pub(crate) leads_to: &'static str,
}

impl Plan {
    /// A directory that looks for servers on these ports.
    pub(crate) fn new(tls: u16, http: u16) -> Self {
        let day = 24 * 60 * 60;
        Self { port: port::free(), tls, http, life: 90 * day, refused_nonces: 0, leads_to: "127.0.0.1" }
    }
}

/// A running directory; dropping it ends it.
pub(crate) struct Pebble {
    daemon: Daemon,
    _dns: Daemon,
    plan: Plan,
    dns_management: u16,
    management: u16,
    folder: TempDir,
}

impl Pebble {
    pub(crate) fn start(plan: Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (management, dns, dns_management) = (port::free(), port::free(), port::free());
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
            "certificateValidityPeriod": plan.life,
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
            plan.leads_to,
        ]);
        let mut names = Daemon::start(names, folder.path().join("dns.log"));
        names.wait_until(STARTING, || listens(dns_management));
        let mut directory = Command::new(require("pebble"));
        directory.args(["-config", "config.json", "-dnsserver", &format!("127.0.0.1:{dns}")]);
        directory.env("PEBBLE_VA_NOSLEEP", "1").env("PEBBLE_AUTHZREUSE", "0");
        directory.env("PEBBLE_WFE_NONCEREJECT", plan.refused_nonces.to_string()).current_dir(folder.path());
        let mut daemon = Daemon::start(directory, folder.path().join("log"));
        daemon.wait_until(STARTING, || listens(plan.port) && listens(management));
        Self { daemon, _dns: names, plan, dns_management, management, folder }
    }

    /// The table of the configuration that orders from here.
    pub(crate) fn table(&self) -> String {
        table(self.plan.port, &self.ca())
    }

    /// The authority of the directory itself.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.path().join("own.crt")
    }

    /// The root of what it issues, as of now: each start makes another one.
    pub(crate) fn root(&self) -> PathBuf {
        let path = self.folder.path().join("root.crt");
        let url = format!("https://127.0.0.1:{}/roots/0", self.management);
        let got = Tool::new("curl").args(["-sS", "-f", "--cacert"]).args([&self.ca()]).args([&url]).succeeds();
        fs::write(&path, got.stdout).unwrap();
        path
    }

    /// From now on DNS sends everybody there.
    pub(crate) fn lead_to(&self, address: &str) {
        let url = format!("http://127.0.0.1:{}/set-default-ipv4", self.dns_management);
        let body = serde_json::json!({ "ip": address }).to_string();
        Tool::new("curl").args(["-sS", "-f", "-d", &body, &url]).succeeds();
    }

    /// How many certificates it has issued.
    pub(crate) fn issued(&self) -> usize {
        self.log().matches("Issued certificate serial").count()
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> String {
        self.daemon.log()
    }
}

/// The table of a configuration that orders from a directory on this port.
pub(crate) fn table(port: u16, ca: &Path) -> String {
    format!("[tls.acme]\ndirectory = \"https://127.0.0.1:{port}/dir\"\nca = \"{}\"\n", ca.display())
}

fn listens(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok()
}
