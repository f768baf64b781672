//! Portcullis beside what it takes the place of: nginx with a password file before docker-registry, in one run.
//!
//! `make bench` installs the peers and runs this. Every case starts its servers afresh, takes turns between them round by
//! round, and gives medians: of the wall time, and of the processor time that the kernel counted for the server's processes.
//! One invariant: no number in the report comes from anywhere but this run.

#![allow(clippy::unwrap_used, reason = "a benchmark that cannot go on should stop")]
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "the table is the result, and waiting is long in silence"
)]

mod cases;
mod client;
mod context;
mod data;
mod flames;
mod image;
mod load;
mod material;
mod outcome;
mod process;
mod programs;
mod report;
mod rounds;
mod samples;
mod side;
mod tree;

use std::time::Instant;

use clap::Parser;

use context::Context;
use outcome::Row;

/// Measures Portcullis beside nginx and docker-registry.
#[derive(Parser)]
struct Arguments {
    /// The cases to measure; without any, all of them, and the report in docs/benchmarks and README.md is written.
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(cases::ALL.iter().map(|case| case.name)))]
    cases: Vec<String>,
    /// How often each side has its turn.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Everything an eighth of its size: to see whether it runs, not how fast.
    #[arg(long)]
    small: bool,
    /// Writes flame graphs of pull and push into docs/benchmarks, and measures nothing.
    #[arg(long)]
    flame_graphs: bool,
    /// What `cargo bench` says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let arguments = Arguments::parse();
    programs::require_all();
    let context = Context::new(usize::from(arguments.rounds), arguments.small);
    if arguments.flame_graphs {
        return flames::draw(&context);
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
    // A page for others to read is not made of a glance.
    if arguments.cases.is_empty() && !arguments.small && arguments.rounds >= 3 {
        report::write(&context, &rows);
    }
}
