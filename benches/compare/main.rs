//! Compares Portcullis with nginx as a proxy with a password file before docker-registry.
//!
//! `make bench` installs the peers and runs it. Every case starts new servers, measures them in turns round by round,
//! and reports medians of the wall time and of the processor time that the kernel counted for the server's processes.
//!
//! Invariant: every number in the report comes from this run.

#![allow(clippy::disallowed_methods, reason = "a benchmark measures the time of the system")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the result, and a long run shows its progress"
)]

mod cases;
mod client;
mod contender;
mod context;
mod external_programs;
mod fixtures;
mod flamegraph;
mod image;
mod large_registry;
mod load;
mod process;
mod random_blob;
mod report;
mod result_row;
mod rounds;
mod samples;

use std::time::Instant;

use clap::Parser;

use context::BenchContext;
use result_row::Row;

/// Measures Portcullis beside nginx and docker-registry.
#[derive(Parser)]
struct Arguments {
    /// The cases to measure; without any, all of them, and the report in docs/benchmarks is written.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(cases::ALL.iter().map(|case| case.name)))]
    cases: Vec<String>,
    /// How often each server is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Everything at an eighth of its size: a test of the benchmark, not a measurement.
    #[arg(long)]
    small: bool,
    /// Writes flame graphs of pull and push into docs/benchmarks, and measures nothing.
    #[arg(long)]
    flame_graphs: bool,
    /// Accepted because `cargo bench` passes it to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    external_programs::require_all();
    let context = BenchContext::new(usize::from(arguments.rounds), arguments.small);
    if arguments.flame_graphs {
        return flamegraph::draw(&context);
    }

    let chosen = |name: &str| arguments.cases.is_empty() || arguments.cases.iter().any(|case| case == name);
    let began = Instant::now();
    let mut rows: Vec<Row> = Vec::new();
    for case in cases::ALL.iter().filter(|case| chosen(case.name)) {
        eprintln!("{:>4} s  {}: {}", began.elapsed().as_secs(), case.name, case.about);
        rows.extend((case.measure)(&context));
    }
    eprintln!("{:>4} s  done", began.elapsed().as_secs());

    println!("{}", report::table(&rows));
    // The published report is written only from a complete run.
    if arguments.cases.is_empty() && !arguments.small && arguments.rounds >= 3 {
        report::write(&context, &rows);
    }
}
