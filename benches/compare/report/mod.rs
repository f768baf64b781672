//! The report: a table and a plot in docs/benchmarks.

mod machine;
mod number;
mod plot;
mod table;

use std::fs;

use crate::{context::BenchContext, result_row::Row};

pub(crate) use table::table;

const FOLDER: &str = "docs/benchmarks";

/// Writes the report into the checkout.
pub(crate) fn write(context: &BenchContext, rows: &[Row]) {
    let folder = BenchContext::repository_root().join(FOLDER);
    fs::write(folder.join("compare.md"), page(context, rows)).unwrap();
    fs::write(folder.join("compare.svg"), plot::draw(rows)).unwrap();
}

fn page(context: &BenchContext, rows: &[Row]) -> String {
    let machine = machine::describe();
    let rounds = context.rounds;
    format!(
        "# Beside nginx and docker-registry

`make bench` installs the peers and writes this page; `cargo bench --bench compare -- --help` measures parts of it.

{machine}

Every number is the median of {rounds} rounds (lists: three times as many), with the least and the most in brackets. The servers take turns within a round, after one
round that does not count (memory and storms: at most 3 rounds, of fresh servers). *Processor* is what the kernel counted for all
processes of the server, in seconds of one processor; the load comes from the same machine and shares its processors. GB and MB
are powers of two. Memory is resident memory; what several processes of a server share is counted in each.

All servers have the same certificate (ECDSA, P-256), use TLS 1.3 with X25519 and TLS_AES_128_GCM_SHA256, which is checked for each,
and write their usual logs to files. Portcullis runs with its defaults: TLS, users, tokens. nginx asks for passwords of the same
users file (bcrypt at cost 5, unless said otherwise) and passes requests on to docker-registry with
`proxy_request_buffering off`, HTTP/2, kept connections and nginx's own `proxy_buffering`, which writes a part of large answers to temporary files; docker-registry has the configuration of its Debian package.
Pulls are made by h2load, pushes by hyper in the way of Docker (POST, PATCH of unknown length, PUT on one connection), images by
skopeo, which offers further ciphers, requests by wrk, handshakes by ab. Clients that sign in concurrently run at the lowest `nice` value,
because elsewhere they would have processors of their own, and wait for the time in `Retry-After`, which nginx never sends.

![How many times better Portcullis is than its peer](compare.svg)

{}",
        table(rows)
    )
}
