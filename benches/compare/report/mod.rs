//! Writes the report: a table and a plot into docs/benchmarks, and a short table into README.md between two markers.

mod machine;
mod number;
mod plot;
mod table;

use std::{fs, path::Path};

use crate::{
    context::Context,
    outcome::{Goal, Row},
};

pub(crate) use table::table;

const FOLDER: &str = "docs/benchmarks";
const BEGIN: &str = "<!-- Written by `make bench`. -->";
const END: &str = "<!-- End of what `make bench` writes. -->";

/// Writes the report into the checkout.
pub(crate) fn write(context: &Context, rows: &[Row]) {
    let folder = Context::checkout().join(FOLDER);
    fs::write(folder.join("compare.md"), page(context, rows)).unwrap();
    fs::write(folder.join("compare.svg"), plot::draw(rows)).unwrap();
    put_into_readme(&Context::checkout().join("README.md"), rows);
}

fn page(context: &Context, rows: &[Row]) -> String {
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

fn put_into_readme(path: &Path, rows: &[Row]) {
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("README.md has no start marker for the benchmark numbers");
    let (_, after) = rest.split_once(END).expect("README.md has no end marker for the benchmark numbers");
    let compared = rows.iter().filter(|row| matches!(row.goal, Some(Goal::Ratio(_)))).collect::<Vec<_>>();
    let plot = format!("![How many times better Portcullis is than its peer]({FOLDER}/compare.svg)");
    fs::write(path, format!("{before}{BEGIN}\n\n{plot}\n\n{}\n{END}{after}", table::short(&compared))).unwrap();
}
