//! Implements `portcullis fsck`: checks or repairs the stored data, with a progress bar, and prints the findings.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use super::{CommandError, load};
use crate::{
    app::{self, StartError},
    clock::Clock,
    config::Flags,
    registry::{FsckFinding, FsckProgress, FsckReport, Registry, RepairOutcome},
    storage::{self, DataDirLock},
};

/// Check the integrity of the stored data: every link, and every byte against its digest
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Repair what can be repaired, and move the rest to the quarantine; no server may run meanwhile
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
    let claim = if args.repair { Some(lock_data_dir(&config.storage)?) } else { None };
    let registry = Registry::new(store, config.registry, clock.clone());
    let runtime = tokio::runtime::Runtime::new().map_err(|error| CommandError::new(error, None))?;
    let bar = progress_bar();
    let mut show = |progress: FsckProgress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.blobs as u64);
        bar.set_message(HumanBytes(progress.bytes).to_string());
    };
    let now = clock.now();
    let found = match &claim {
        Some(claim) => runtime.block_on(registry.fsck_repair(claim, now, &mut show)),
        None => runtime.block_on(registry.fsck(now, Registry::RECHECK_DELAY, &mut show)),
    };
    bar.finish_and_clear();
    let found = found?;
    if let Some(claim) = claim {
        app::release_store(claim);
    }
    print_report(&found).map_err(|error| CommandError::new(error, None))?;
    match (found.serious_findings().count(), args.repair) {
        (0, _) => Ok(()),
        (count, true) => Err(CommandError::new(
            format!("{count} items cannot be served"),
            Some("push them again; the damaged files are in portcullis/quarantine in the data folder"),
        )),
        (count, false) => Err(CommandError::new(
            format!("{count} items are damaged"),
            Some("stop the server and run it with --repair, then push again what is missing"),
        )),
    }
}

/// Takes the lock of the data folder: unfinished changes of a running server look like damage and must not be repaired.
fn lock_data_dir(config: &storage::StoreConfig) -> Result<DataDirLock, CommandError> {
    let storage::StoreConfig::Filesystem { root, .. } = config;
    let hint = "stop the server first: a repair needs exclusive access; without --repair a server may run";
    app::try_lock_store(config)
        .map_err(StartError::from)?
        .ok_or_else(|| CommandError::new(StartError::Locked(root.clone()), Some(hint)))
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
    for FsckFinding { repository, damage, repair } in &found.findings {
        let place = repository.as_ref().map_or("-", |name| name.as_str());
        let _ = match repair {
            RepairOutcome::None => writeln!(text, "{place}: {damage}"),
            RepairOutcome::Mended | RepairOutcome::Quarantined | RepairOutcome::Trashed | RepairOutcome::Removed => {
                writeln!(text, "{place}: {damage} ({repair})")
            }
        };
    }
    let (blobs, bytes, findings) = (found.blobs, HumanBytes(found.bytes), found.findings.len());
    let _ = writeln!(text, "{blobs} blobs, {bytes}, {findings} findings");
    text
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
