//! Tests that thousands of idle connections need bounded memory.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustls::ClientConfig;

use crate::support::ServerDir;
use crate::support::daemon::Daemon;
use crate::support::wire_connection::{handshake, roots};

const CONNECTIONS: usize = 2000;
/// Covers the buffers of both protocols, the handshake's state and the allocator; less than half of it was measured.
const BYTES_PER_CONNECTION: u64 = 100_000;

/// The resident memory of a process, in bytes.
pub(super) fn resident(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A connection that completes the handshake and then stays idle.
fn idle(stage: &ServerDir, config: &Arc<ClientConfig>) -> TcpStream {
    handshake(TcpStream::connect(stage.address()).unwrap(), config).unwrap().sock
}

fn config(ca: &Path, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder().with_root_certificates(roots(ca).unwrap()).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

#[test]
fn two_thousand_idle_connections_cost_little_and_keep_nobody_out() {
    // Every connection is a file descriptor on this side too.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
    let stage = ServerDir::new();
    stage.configure("[limits]\nidle_timeout = \"1h\"\nheader_timeout = \"10m\"");
    let server = stage.start();
    server.assert_serving();
    let before = resident(&server.daemon);
    let ca = stage.path("certs/ca.crt");
    let configs = [config(&ca, b"h2"), config(&ca, b"http/1.1")];
    let sockets: Vec<TcpStream> = configs.iter().cycle().take(CONNECTIONS).map(|config| idle(&stage, config)).collect();
    server.assert_serving();
    let each = resident(&server.daemon).saturating_sub(before) / CONNECTIONS as u64;
    assert!(each < BYTES_PER_CONNECTION, "{each} bytes for each idle connection");
    // All of them are still open.
    let open = fs::read_dir(format!("/proc/{}/fd", server.daemon.id())).unwrap().count();
    assert!(open >= CONNECTIONS, "{open} file descriptors");
    drop(sockets);
    server.assert_serving();
}
