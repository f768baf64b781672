//! Implements `portcullis gc`: collects garbage itself, or requests it from the running server, and prints a report.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::PathBuf,
};

use super::{CommandError, data_dir::LockWaiter, load};
use crate::{
    app,
    clock::Clock,
    config::Flags,
    registry::{Error, GcReport, LeftOut, Registry},
    storage,
};

/// Collect garbage: blobs that no manifest refers to, abandoned uploads, and blobs whose time in the trash is over
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// List what would be removed, and why, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// The folder of the registry's data, as registry:2 lays it out [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl Args {
    pub(super) fn flags(&self, config: Option<PathBuf>) -> Flags {
        Flags { config, data: self.data.clone(), ..Flags::default() }
    }
}

pub(super) fn run(args: &Args, flags: &Flags, clock: &Clock) -> Result<(), CommandError> {
    let config = load(flags)?.config;
    let store = app::existing_store(&config.storage, clock)?;
    let registry = Registry::new(store, config.registry, clock.clone());
    let runtime = tokio::runtime::Runtime::new().map_err(|error| CommandError::new(error, None))?;
    let report = runtime.block_on(async {
        if args.dry_run {
            registry.collect_garbage(true, clock.now()).await
        } else {
            collect(&registry, &config.storage, clock).await
        }
    });
    let report = report?;
    warn_of_left_out(&report);
    let mut out = io::stdout().lock();
    out.write_all(format_report(&report, args.dry_run).as_bytes()).map_err(|error| CommandError::new(error, None))
}

/// Collects garbage in this process under the lock of the data folder, or in the running server if it holds the lock.
async fn collect(registry: &Registry, config: &storage::StoreConfig, clock: &Clock) -> Result<GcReport, Error> {
    let mut folder = LockWaiter::new(config);
    if !folder.try_lock()?
        && let Some(report) = registry.request_collection(|| folder.try_lock()).await?
    {
        return Ok(report);
    }
    let report = registry.collect_garbage(false, clock.now()).await?;
    folder.release();
    Ok(report)
}

fn warn_of_left_out(report: &GcReport) {
    let mut stderr = io::stderr().lock();
    // A write error is ignored: the table names these repositories as well.
    for left_out in &report.left_out {
        let _ = writeln!(stderr, "warning: {left_out}");
    }
    if !report.left_out.is_empty() {
        let _ = writeln!(stderr, "hint: {}", LeftOut::HINT);
    }
}

/// The report as text: size, repository, name and reason of each item on a line, then the totals.
fn format_report(report: &GcReport, is_dry: bool) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for garbage in &report.garbage {
        let repository = garbage.repository.as_ref().map_or("-", |name| name.as_str());
        let _ = writeln!(text, "{:>12}  {repository}  {}  {}", garbage.size, garbage.name, garbage.why);
    }
    for left_out in &report.left_out {
        let _ = writeln!(text, "{:>12}  {}  -  left out: {}", "-", left_out.repository, left_out.reason);
    }
    let (kept, count) = (report.kept, report.garbage.len());
    let (trashed, freed, restored) = (report.trashed(), report.freed(), report.restored);
    let tense = if is_dry { "would be" } else { "were" };
    let _ = writeln!(
        text,
        "{kept} blobs and manifests are kept; {count} items {tense} removed: {trashed} bytes to the trash, {freed} bytes \
         from the trash for good; {restored} restored from the trash."
    );
    text
}
