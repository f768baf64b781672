//! Implements `portcullis fsck`: checks the stored data, or repairs it or has the running server do so, with a progress
//! bar, and prints the findings.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{CommandError, data_dir::DataAccess, load_config::load};
use crate::{
    app,
    clock::Clock,
    config::Flags,
    registry::{FsckFinding, FsckProgress, FsckReport, Registry, RepairOutcome, RepairProgress},
    storage,
};

/// Check the integrity of the stored data: every link, and every byte against its digest
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Repair what can be repaired, and move the rest to the quarantine, beside a running server or without one
    #[arg(long)]
    repair: bool,
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
    let bar = progress_bar();
    let found =
        if args.repair { repair(&registry, &config.storage, clock, &bar) } else { check(&registry, clock, &bar) };
    bar.finish_and_clear();
    let found = found?;
    print_report(&found).map_err(|error| CommandError::new(error, None))?;
    match (found.serious_findings().count(), args.repair) {
        (0, _) => Ok(()),
        (count, true) => Err(CommandError::new(
            format!("{count} items cannot be served"),
            Some("push them again; the damaged files are in portcullis/quarantine in the data folder"),
        )),
        (count, false) => Err(CommandError::new(
            format!("{count} items are damaged"),
            Some("run it with --repair, then push again what is missing"),
        )),
    }
}

fn check(registry: &Registry, clock: &Clock, bar: &ProgressBar) -> Result<FsckReport, CommandError> {
    let mut observer = |progress| show_progress(bar, progress);
    Ok(runtime()?.block_on(registry.fsck(clock.now(), Registry::RECHECK_DELAY, &mut observer))?)
}

/// Repairs in this process under the lock of the data folder, or in the running server if that holds the lock.
fn repair(
    registry: &Registry,
    config: &storage::StoreConfig,
    clock: &Clock,
    bar: &ProgressBar,
) -> Result<FsckReport, CommandError> {
    let mut observer = |progress: RepairProgress<'_>| match progress {
        RepairProgress::Check(progress) => show_progress(bar, progress),
        // On a terminal each finding is shown when it is repaired; the report lists all of them again.
        RepairProgress::Finding(finding) => bar.println(format_finding(finding)),
    };
    match DataAccess::now(config)? {
        DataAccess::Locked(lock) => {
            let report = runtime()?.block_on(registry.fsck_repair(&lock, clock.now(), &mut observer))?;
            app::release_store(lock);
            Ok(report)
        }
        DataAccess::Server(server) => Ok(server.repair(&mut observer)?),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    tokio::runtime::Runtime::new().map_err(|error| CommandError::new(error, None))
}

fn show_progress(bar: &ProgressBar, progress: FsckProgress) {
    bar.set_length(progress.total as u64);
    bar.set_position(progress.blobs as u64);
    bar.set_message(HumanBytes(progress.bytes).to_string());
}

/// The progress bar, which `indicatif` draws on a terminal only.
fn progress_bar() -> ProgressBar {
    let template = "{bar:40} {pos}/{len} blobs, {msg}, {eta} left";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style)
}

/// Writes one line for each finding to a terminal, and a JSON document to anything else.
fn print_report(found: &FsckReport) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        return out.write_all(format_findings(found).as_bytes());
    }
    serde_json::to_writer(&mut out, found)?;
    writeln!(out)
}

fn format_findings(found: &FsckReport) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    for finding in &found.findings {
        let _ = writeln!(text, "{}", format_finding(finding));
    }
    let (blobs, bytes, findings) = (found.blobs, HumanBytes(found.bytes), found.findings.len());
    let _ = writeln!(text, "{blobs} blobs, {bytes}, {findings} findings");
    text
}

fn format_finding(FsckFinding { repository, damage, repair }: &FsckFinding) -> String {
    let place = repository.as_ref().map_or("-", |name| name.as_str());
    match repair {
        RepairOutcome::None => format!("{place}: {damage}"),
        RepairOutcome::Mended | RepairOutcome::Quarantined | RepairOutcome::Trashed | RepairOutcome::Removed => {
            format!("{place}: {damage} ({repair})")
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        oci::{Algorithm, Digest},
        registry::StoreDamage,
    };

    use super::*;

    #[test]
    fn people_read_a_line_for_each_finding_and_what_became_of_it() {
        let blob = Digest::compute(Algorithm::Sha256, b"blob");
        let unlinked =
            FsckFinding { repository: None, damage: StoreDamage::Unlinked { blob }, repair: RepairOutcome::None };
        let nowhere = StoreDamage::LinkToNowhere { blob };
        let nowhere =
            FsckFinding { repository: "a/b".parse().ok(), damage: nowhere, repair: RepairOutcome::Quarantined };
        let found = FsckReport { findings: vec![unlinked, nowhere], blobs: 2, bytes: 2048 };
        let expected = format!(
            "-: no repository links to blob {blob}\n\
             a/b: blob {blob} has a link, but its bytes are missing or wrong (moved to the quarantine)\n\
             2 blobs, 2.00 KiB, 2 findings\n"
        );
        assert_eq!(format_findings(&found), expected);
    }
}
