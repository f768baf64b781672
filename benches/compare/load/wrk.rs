//! Makes small requests with wrk: as many as the server answers on persistent connections.

use std::time::Duration;

use super::field_after;
use crate::{client::ACCEPT, contender::Contender, context::BenchContext, external_programs};

/// The number of responses, and the rate per second.
pub(crate) struct WrkResult {
    pub(crate) count: f64,
    pub(crate) per_second: f64,
}

/// Requests `path` for the duration `spell` on `connections` connections; panics unless all responses are 200.
pub(crate) fn requests(
    context: &BenchContext,
    side: &Contender,
    path: &str,
    authorization: Option<&str>,
    connections: usize,
    spell: Duration,
) -> WrkResult {
    let mut wrk = context.fixtures.command("wrk");
    wrk.args(["-t1", "--timeout", "30s"]).arg(format!("-c{connections}")).arg(format!("-d{}s", spell.as_secs()));
    wrk.arg("-H").arg(format!("Accept: {ACCEPT}"));
    if let Some(authorization) = authorization {
        wrk.arg("-H").arg(format!("Authorization: {authorization}"));
    }
    let said = external_programs::output(wrk.arg(side.url(path)));
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{}\n{said}", side.kind.name());
    let count: f64 = said.lines().find_map(|line| line.trim().split_once(" requests in ")).unwrap().0.parse().unwrap();
    assert!(count > 0.0, "{} answered nothing\n{said}", side.kind.name());
    WrkResult { count, per_second: field_after(&said, "Requests/sec:").parse().unwrap() }
}
