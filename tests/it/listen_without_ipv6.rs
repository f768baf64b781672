//! Tests the listening addresses on machines that lack what the configuration names.

use std::fs;
use std::process::Command;

use crate::support::ServerDir;
use crate::support::portcullis_server::BINARY;
use crate::support::tool_command::{ToolCommand, require};

/// Runs a server on all addresses whose first system call of this name fails as on a machine without IPv6.
fn without_ipv6(call: &str, error: &str, rest: &str) {
    let stage = ServerDir::new();
    let text = format!("listen = [\"[::]:{}\"{rest}]\nhostnames = [\"localhost\"]\n", stage.port());
    stage.write("portcullis.toml", &text.replace("PORT", &stage.port().to_string()));
    let mut command = Command::new(require("strace"));
    // With -D, the started process is the server, and strace its detached grandchild.
    command.args(["-D", "-f", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    command.args(["-e", &format!("inject={call}:error={error}:when=1"), BINARY, "serve"]).current_dir(stage.folder());
    let server = stage.start_as(command);
    server.assert_serving();
    let words = format!("this machine has no IPv6: listening on 0.0.0.0:{0} instead of [::]:{0}", stage.port());
    assert_eq!(server.log().matches(&words).count(), 1, "{call} {error}: {}", server.log());
    stage.portcullis_command().args(["check", "--live"]).run_ok();
    stage.portcullis_command().arg("check").run_ok();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn every_address_of_a_machine_without_ipv6_is_every_address_of_ipv4_with_a_line_in_the_log() {
    without_ipv6("socket", "EAFNOSUPPORT", "");
    without_ipv6("bind", "EADDRNOTAVAIL", "");
    without_ipv6("socket", "EAFNOSUPPORT", ", \"0.0.0.0:PORT\"");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_server_on_every_address_is_found_by_check_where_the_interfaces_have_no_ipv6() {
    let stage = ServerDir::new();
    stage.write("portcullis.toml", "listen = [\"[::]:8443\"]\nhostnames = [\"localhost\"]\n");
    let script = format!(
        "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && {busybox} ip link set lo up || exit 9\n\
         {BINARY} serve 2> log & server=$!\n\
         while ! grep -q serving log; do kill -0 $server || exit 1; sleep 0.1; done\n\
         {BINARY} check --live; live=$?\nkill $server; wait $server; exit $live\n",
        busybox = require("busybox").display()
    );
    let output = ToolCommand::new("unshare").args(["--net", "sh", "-c", &script]).folder(stage.folder()).run();
    let log = fs::read_to_string(stage.path("log")).unwrap_or_default();
    assert!(output.is_success() && log.contains("stopped"), "{output}\n{log}");
}
