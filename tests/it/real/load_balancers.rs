//! Tests real load balancers in front of the server: haproxy with the PROXY protocol, nginx with its headers.

use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use crate::support::daemon::Daemon;
use crate::support::tool_command::{ToolOutput, require};
use crate::support::{PortcullisServer, ServerDir, ToolCommand, free_port, nginx};

/// A loopback address other than 127.0.0.1, to recognise the client among connections on this machine.
const CLIENT: &str = "127.0.0.77";

fn wait_for(daemon: &mut Daemon, port: u16) {
    daemon.wait_until(Duration::from_secs(20), || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

/// Signs in with a wrong password through a balancer on this port, which leaves a line in the log.
fn guess(server: &PortcullisServer, port: u16, user: &str, arguments: &[&str]) -> ToolOutput {
    let tool = ToolCommand::new("curl").folder(server.stage.folder()).args(["-sS", "-i", "--interface", CLIENT]);
    let output = tool.args(["--cacert", "certs/ca.crt", "-u", &format!("{user}:a guess")]).args(arguments);
    let output = output.arg(format!("https://localhost:{port}/v2/")).run_ok();
    assert!(output.stdout.contains(" 401"), "{output}");
    output
}

#[test]
fn haproxy_tells_in_both_versions_of_the_proxy_protocol_who_the_client_is() {
    let stage = ServerDir::new();
    stage.configure("trusted_proxies = [\"127.0.0.1\"]\nproxy_protocol = true\n");
    let server = stage.start();
    for (version, user) in
        [("send-proxy check", "one"), ("send-proxy-v2 check", "two"), ("send-proxy-v2-ssl check", "three")]
    {
        let port = free_port::free();
        let text = format!(
            "defaults\n mode tcp\n timeout connect 5s\n timeout client 20s\n timeout server 20s\n\
             listen registry\n bind 127.0.0.1:{port}\n server one {} {version} inter 200ms\n",
            stage.address()
        );
        let file = stage.write("haproxy.cfg", &text);
        let mut command = Command::new(require("haproxy"));
        command.arg("-db").arg("-f").arg(file);
        let mut haproxy = Daemon::start(command, stage.path("haproxy.log"));
        wait_for(&mut haproxy, port);
        let output = guess(&server, port, user, &[]);
        assert!(output.stdout.contains(&format!("realm=\"https://localhost:{port}/token\"")), "{output}");
        server.assert_log_contains(&format!("sign-in refused peer={CLIENT} user=\"{user}\""));
    }
    let complained = server.log().contains("connection closed");
    assert!(!complained, "health checks are well-behaved connections:\n{}", server.log());
}

#[test]
fn nginx_tells_in_headers_who_the_client_is_and_nobody_can_add_to_them() {
    let stage = ServerDir::new();
    stage.configure("trusted_proxies = [\"127.0.0.1\"]\n");
    let server = stage.start();
    let port = free_port::free();
    let inside = format!(
        "location / {{\n proxy_pass https://{};\n\
         proxy_set_header Host $proxy_host;\n proxy_set_header X-Forwarded-Host $http_host;\n\
         proxy_set_header X-Forwarded-Proto $scheme;\n\
         proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n }}",
        stage.address()
    );
    let _nginx = nginx::start(&stage, ([127, 0, 0, 1], port).into(), &inside);
    let output = guess(&server, port, "guesser", &["-H", "X-Forwarded-For: 203.0.113.9"]);
    server.assert_log_contains(&format!("sign-in refused peer={CLIENT} user=\"guesser\""));
    assert!(output.stdout.contains(&format!("realm=\"https://localhost:{port}/token\"")), "{output}");
    guess(&server, port, "another", &["-H", "Forwarded: for=203.0.113.9"]);
    server.assert_log_contains("sign-in refused peer=127.0.0.1 user=\"another\"");
    guess(&server, stage.port(), "direct", &["-H", "X-Forwarded-For: 203.0.113.9"]);
    server.assert_log_contains(&format!("sign-in refused peer={CLIENT} user=\"direct\""));
}
