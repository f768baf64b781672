//! Implements `portcullis gc`: collects garbage itself, or has the running server do it, with a progress bar, and
//! prints each item when it is removed.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{CommandError, data_dir::DataAccess, load_config::load};
use crate::{
    app,
    clock::Clock,
    config::Flags,
    registry::{Garbage, GcProgress, GcReport, LeftOut, Registry},
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
    let mut output = GcOutput::new();
    let report = collect(&registry, &config.storage, args.dry_run, clock, &mut |progress| output.show(progress));
    output.bar.finish_and_clear();
    let report = report?;
    if !report.left_out.is_empty() {
        // A write error is ignored: the lines on standard output name these repositories as well.
        let _ = writeln!(io::stderr(), "hint: {}", LeftOut::HINT);
    }
    output
        .result
        .and_then(|()| writeln!(io::stdout(), "{}", format_totals(&report, args.dry_run)))
        .map_err(|error| CommandError::new(format!("cannot write: {error}"), None))
}

/// Collects garbage in this process under the lock of the data folder, or in the running server if that holds the lock.
/// A dry run changes nothing and needs neither.
fn collect(
    registry: &Registry,
    config: &storage::StoreConfig,
    is_dry_run: bool,
    clock: &Clock,
    observer: &mut (dyn FnMut(GcProgress<'_>) + Send + Sync),
) -> Result<GcReport, CommandError> {
    let lock = if is_dry_run {
        None
    } else {
        match DataAccess::wait(config)? {
            DataAccess::Locked(lock) => Some(lock),
            DataAccess::Server(server) => return Ok(server.collect_garbage(observer)?),
        }
    };
    let runtime = tokio::runtime::Runtime::new().map_err(|error| CommandError::new(error, None))?;
    let report = runtime.block_on(registry.collect_garbage_with(is_dry_run, clock.now(), observer))?;
    if let Some(lock) = lock {
        app::release_store(lock);
    }
    Ok(report)
}

/// Shows the steps of a collection: a progress bar on a terminal, and a line for each item.
struct GcOutput {
    bar: ProgressBar,
    /// The first error of writing to standard output. The collection goes on.
    result: io::Result<()>,
}

impl GcOutput {
    fn new() -> Self {
        let template = "{bar:40} {pos}/{len} repositories";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        Self { bar: ProgressBar::new(0).with_style(style), result: Ok(()) }
    }

    fn show(&mut self, progress: GcProgress<'_>) {
        match progress {
            GcProgress::Repositories { done, total } => {
                self.bar.set_length(total as u64);
                self.bar.set_position(done as u64);
            }
            GcProgress::Garbage(garbage) => self.print_line(&format_garbage(garbage)),
            GcProgress::LeftOut(left_out) => {
                self.bar.suspend(|| {
                    // A write error is ignored: the line on standard output names this repository as well.
                    let _ = writeln!(io::stderr(), "warning: {left_out}");
                });
                self.print_line(&format_left_out(left_out));
            }
        }
    }

    fn print_line(&mut self, line: &str) {
        let written = self.bar.suspend(|| writeln!(io::stdout(), "{line}"));
        if self.result.is_ok() {
            self.result = written;
        }
    }
}

/// Size, repository, name and reason of an item, on a line.
fn format_garbage(garbage: &Garbage) -> String {
    let repository = garbage.repository.as_ref().map_or("-", |name| name.as_str());
    format!("{:>12}  {repository}  {}  {}", garbage.size, garbage.name, garbage.why)
}

fn format_left_out(left_out: &LeftOut) -> String {
    format!("{:>12}  {}  -  left out: {}", "-", left_out.repository, left_out.reason)
}

fn format_totals(report: &GcReport, is_dry_run: bool) -> String {
    let (kept, count) = (report.kept, report.garbage.len());
    let (trashed, freed, restored) = (report.trashed(), report.freed(), report.restored);
    let tense = if is_dry_run { "would be" } else { "were" };
    format!(
        "{kept} blobs and manifests are kept; {count} items {tense} removed: {trashed} bytes to the trash, {freed} bytes \
         from the trash for good; {restored} restored from the trash."
    )
}
