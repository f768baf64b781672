//! Makes TLS handshakes with ab, which closes its connection after each response and does not resume sessions.

use super::field_after;
use crate::{contender::Contender, context::BenchContext, external_programs, fixtures::CIPHER};

/// Makes `count` connections, `at_once` at a time, with one small request each; panics unless all responses are 200.
pub(crate) fn handshakes(context: &BenchContext, side: &Contender, path: &str, count: usize, at_once: usize) {
    let mut ab = context.fixtures.command("ab");
    ab.args(["-q", "-f", "TLS1.3"]).arg(format!("-n{count}")).arg(format!("-c{at_once}"));
    let said = external_programs::output(ab.arg(side.url(path)));
    let protocol = field_after(&said, "SSL/TLS Protocol:");
    assert!(protocol.starts_with(&format!("TLSv1.3,{CIPHER},")), "{protocol}");
    let well =
        field_after(&said, "Complete requests:") == count.to_string() && field_after(&said, "Failed requests:") == "0";
    assert!(well && !said.contains("Non-2xx"), "{}\n{said}", side.kind.name());
}
