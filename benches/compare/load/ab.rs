//! Makes TLS handshakes with ab, which closes its connection after each response and does not resume sessions.

use super::line;
use crate::{context::Context, material::CIPHER, programs, side::Side};

/// Makes `count` connections, `at_once` at a time, with one small request each; panics unless all responses are 200.
pub(crate) fn handshakes(context: &Context, side: &Side, path: &str, count: usize, at_once: usize) {
    let mut ab = context.material.command("ab");
    ab.args(["-q", "-f", "TLS1.3"]).arg(format!("-n{count}")).arg(format!("-c{at_once}"));
    let said = programs::output(ab.arg(side.url(path)));
    let protocol = line(&said, "SSL/TLS Protocol:");
    assert!(protocol.starts_with(&format!("TLSv1.3,{CIPHER},")), "{protocol}");
    let well = line(&said, "Complete requests:") == count.to_string() && line(&said, "Failed requests:") == "0";
    assert!(well && !said.contains("Non-2xx"), "{}\n{said}", side.kind.name());
}
