//! `portcullis gc`

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::Arc,
    time::SystemTime,
};

use super::{Failure, load};
use crate::{
    app,
    config::Flags,
    registry::{Registry, Report},
};

/// Collect garbage: blobs that no manifest refers to, abandoned uploads, and what has been in the trash for long enough
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Say what would be taken away, and why, and take nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &Args, flags: &Flags) -> Result<(), Failure> {
    let config = load(flags)?.config;
    let store = app::open_store(&config.storage).map_err(|error| Failure::new(error, None))?;
    let registry = Registry::new(Arc::clone(&store), config.registry);
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::new(error, None))?;
    let report = runtime.block_on(async {
        if args.dry_run {
            registry.collect_garbage(true, SystemTime::now()).await
        } else {
            registry.request_collection().await
        }
    });
    let report = report.map_err(|error| Failure::new(error, None))?;
    let mut out = io::stdout().lock();
    out.write_all(table(&report, args.dry_run).as_bytes()).map_err(|error| Failure::new(error, None))
}

/// What, how much, why: a line each, and the sums.
fn table(report: &Report, is_dry: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for garbage in &report.garbage {
        let repository = garbage.repository.as_ref().map_or("-", |name| name.as_str());
        let _ = writeln!(text, "{:>12}  {repository}  {}  {}", garbage.size, garbage.name, garbage.why);
    }
    let (kept, count) = (report.kept, report.garbage.len());
    let (trashed, freed, restored) = (report.trashed(), report.freed(), report.restored);
    let tense = if is_dry { "would be" } else { "were" };
    let _ = writeln!(
        text,
        "{kept} blobs and manifests stay; {count} things {tense} taken away: {trashed} bytes to the trash, {freed} bytes \
         from the trash for good; {restored} came back."
    );
    text
}
