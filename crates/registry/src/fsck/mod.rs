//! Checks the store for damage and repairs it: whether every link leads to content, and whether the digest of
//! every blob is the one in its path.
//!
//! Invariant: a check changes nothing; a repair deletes only objects that were never acknowledged. It moves wrong
//! objects to the quarantine, where an operator can inspect them, moves unneeded objects to the trash, and makes
//! missing objects again from existing ones.
//!
//! Checking and repairing are separate: [`link_check`] and [`scrub`] report all damage with its consequences (a tag is
//! wrong if the bytes of its manifest are), and [`repair`] handles each finding by itself.

mod finding;
mod link_check;
mod orphans;
mod repair;
mod scrub;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use super::{Error, Registry};
pub use finding::{FsckFinding, FsckReport, RepairOutcome, StoreDamage};
use portcullis_oci::RepositoryName;
use portcullis_storage::{DataDirLock, StoreError, StorePath};
use portcullis_text::error_chain;
use scrub::{BlobLocation, ScrubResult};

/// The minimum age of an orphan: anything younger may be the work of a running server.
const MIN_ORPHAN_AGE: Duration = Duration::from_secs(60 * 60);

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FsckProgress {
    /// The number of blobs read so far.
    pub blobs: usize,
    /// The number of blobs to read.
    pub total: usize,
    /// The number of bytes read so far.
    pub bytes: u64,
}

/// One run of the check.
struct FsckRun<'a> {
    registry: &'a Registry,
    now: SystemTime,
}

impl Registry {
    /// The longest time from the first to the last change of one operation in flight.
    pub const RECHECK_DELAY: Duration = Duration::from_secs(2);

    /// Checks everything and changes nothing. Other processes may change the store meanwhile: findings are checked
    /// again after `in_flight`, and only those that persist are reported.
    pub async fn fsck(
        &self,
        now: SystemTime,
        recheck_delay: Duration,
        progress: &mut (dyn FnMut(FsckProgress) + Send),
    ) -> Result<FsckReport, Error> {
        let check = FsckRun { registry: self, now };
        let places = check.blob_locations().await;
        let (mut found, doubtful) = check.run(&places, progress).await;
        if found.findings.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(recheck_delay).await;
        let (again, _) = check.run(&doubtful, &mut |_| {}).await;
        let again: HashSet<FsckFinding> = again.findings.into_iter().collect();
        found.findings.retain(|finding| again.contains(finding));
        Ok(found)
    }

    /// Checks everything, repairs what can be repaired, and moves other damaged objects to the quarantine. The claim
    /// keeps servers away: their operations in flight must not be repaired.
    pub async fn fsck_repair(
        &self,
        _claim: &DataDirLock,
        now: SystemTime,
        progress: &mut (dyn FnMut(FsckProgress) + Send),
    ) -> Result<FsckReport, Error> {
        let check = FsckRun { registry: self, now };
        let (mut found, _) = check.run(&check.blob_locations().await, progress).await;
        // If some links were not seen, it is unknown which blobs are not linked.
        let all_links_seen =
            !found.findings.iter().any(|finding| matches!(finding.damage, StoreDamage::StrangeFolder { .. }));
        for finding in &mut found.findings {
            finding.repair = check.repair_finding(finding, all_links_seen).await?;
        }
        Ok(found)
    }
}

impl FsckRun<'_> {
    /// Reads the bytes at `places` and checks everything else. Also returns the places at which something is wrong.
    async fn run(
        &self,
        places: &[BlobLocation],
        progress: &mut (dyn FnMut(FsckProgress) + Send),
    ) -> (FsckReport, Vec<BlobLocation>) {
        let ScrubResult { report: mut found, suspect: doubtful, corrupt_paths: unsound } =
            self.scrub(places, progress).await;
        found.findings.extend(self.check_links(&unsound).await);
        found.findings.extend(self.orphans().await);
        (found, doubtful)
    }
}

/// The finding for a folder or link that cannot be read.
fn unreadable_path(repository: Option<&RepositoryName>, path: &StorePath, error: &StoreError) -> FsckFinding {
    let damage = StoreDamage::UnreadablePath { path: path.to_string(), error: error_chain(error) };
    unrepaired_finding(repository, damage)
}

/// A finding that is not repaired yet.
fn unrepaired_finding(repository: Option<&RepositoryName>, damage: StoreDamage) -> FsckFinding {
    FsckFinding { repository: repository.cloned(), damage, repair: RepairOutcome::None }
}
