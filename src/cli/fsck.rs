//! `portcullis fsck`

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{Failure, load};
use crate::{
    app,
    config::Flags,
    registry::{Examination, Progress, Registry},
};

/// Check the stored data against itself: every link, and every byte against its digest
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Put right what can be put right, and move what cannot to the quarantine; nothing is deleted
    #[arg(long)]
    repair: bool,
}

pub(super) fn run(args: &Args, flags: &Flags) -> Result<(), Failure> {
    let config = load(flags)?.config;
    let store = app::open_store(&config.storage).map_err(|error| Failure::new(error, None))?;
    let registry = Registry::new(store, config.registry);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(error, None))?;
    let bar = progress_bar();
    let mut show = |progress: Progress| {
        bar.set_length(progress.of as u64);
        bar.set_position(progress.blobs as u64);
        bar.set_message(HumanBytes(progress.bytes).to_string());
    };
    let found = runtime.block_on(registry.examine(args.repair, &mut show));
    bar.finish_and_clear();
    let found = found.map_err(|error| Failure::new(error, None))?;
    report(&found).map_err(|error| Failure::new(error, None))?;
    match found.damages().count() {
        0 => Ok(()),
        count => Err(Failure::new(
            format!("{count} things are damaged"),
            Some(
                "push what is missing again; --repair moves damaged bytes to portcullis/quarantine in the data folder",
            ),
        )),
    }
}

/// On a terminal only: nobody wants a bar in a log.
fn progress_bar() -> ProgressBar {
    let template = "{bar:40} {pos}/{len} blobs, {msg}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// A line for each finding to people, a JSON document to everything else.
fn report(found: &Examination) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if !out.is_terminal() {
        serde_json::to_writer(&mut out, found)?;
        return writeln!(out);
    }
    for finding in &found.findings {
        let place = finding.repository.as_ref().map_or("-", |name| name.as_str());
        let repaired = if finding.is_repaired { " (repaired)" } else { "" };
        writeln!(out, "{place}: {}{repaired}", finding.damage)?;
    }
    writeln!(out, "{} blobs, {}, {} findings", found.blobs, HumanBytes(found.bytes), found.findings.len())
}
