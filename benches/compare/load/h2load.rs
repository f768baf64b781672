//! Pulls with h2load, which discards the response bodies.

use super::{Http, field_after};
use crate::{contender::Contender, context::BenchContext, external_programs, fixtures::CIPHER};

/// Requests `path` `requests` times, `at_once` at a time, each of these on its own connection. Panics unless every
/// response is 200 and has `bytes` bytes.
pub(crate) fn pull(
    context: &BenchContext,
    side: &Contender,
    path: &str,
    authorization: Option<&str>,
    (requests, at_once, bytes): (usize, usize, usize),
    http: Http,
) {
    let mut h2load = context.fixtures.command("h2load");
    h2load.arg(format!("--tls13-ciphers={CIPHER}")).args(["--groups=X25519", "-t1"]);
    h2load.arg(format!("-n{requests}")).arg(format!("-c{at_once}"));
    if http == Http::One {
        h2load.arg("--h1");
    }
    if let Some(authorization) = authorization {
        h2load.arg("-H").arg(format!("Authorization: {authorization}"));
    }
    let said = external_programs::output(h2load.arg(side.url(path)));

    assert_eq!(field_after(&said, "Cipher:"), CIPHER);
    assert_eq!(field_after(&said, "Application protocol:"), if http == Http::One { "http/1.1" } else { "h2" });
    let well = field_after(&said, "status codes:").starts_with(&format!("{requests} 2xx"));
    let whole = field_after(&said, "traffic:").contains(&format!("({}) data", requests * bytes));
    assert!(well && whole, "{} should have given {requests} times {bytes} bytes\n{said}", side.kind.name());
}
