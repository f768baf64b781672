//! Makes small requests with wrk: as many as the server answers on persistent connections.

use std::time::Duration;

use super::line;
use crate::{client::ACCEPT, context::Context, programs, side::Side};

/// The number of responses, and the rate per second.
pub(crate) struct Answered {
    pub(crate) count: f64,
    pub(crate) per_second: f64,
}

/// Requests `path` for the duration `spell` on `connections` connections; panics unless all responses are 200.
pub(crate) fn hammer(
    context: &Context,
    side: &Side,
    path: &str,
    authorization: Option<&str>,
    connections: usize,
    spell: Duration,
) -> Answered {
    let mut wrk = context.material.command("wrk");
    wrk.args(["-t1", "--timeout", "30s"]).arg(format!("-c{connections}")).arg(format!("-d{}s", spell.as_secs()));
    wrk.arg("-H").arg(format!("Accept: {ACCEPT}"));
    if let Some(authorization) = authorization {
        wrk.arg("-H").arg(format!("Authorization: {authorization}"));
    }
    let said = programs::output(wrk.arg(side.url(path)));
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{}\n{said}", side.kind.name());
    let count: f64 = said.lines().find_map(|line| line.trim().split_once(" requests in ")).unwrap().0.parse().unwrap();
    assert!(count > 0.0, "{} answered nothing\n{said}", side.kind.name());
    Answered { count, per_second: line(&said, "Requests/sec:").parse().unwrap() }
}
