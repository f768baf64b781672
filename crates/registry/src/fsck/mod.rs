//! Checks the store for damage and repairs it: whether every link leads to content, and whether the digest of
//! every blob is the one in its path.
//!
//! Invariant: a check changes nothing; a repair deletes only objects that were never acknowledged. It moves wrong
//! objects to the quarantine, where an operator can inspect them, moves unneeded objects to the trash, and makes
//! missing objects again from existing ones.
//!
//! Checking and repairing are separate: [`link_check`] and [`scrub`] report all damage with its consequences (a tag is
//! wrong if the bytes of its manifest are), and [`repair`] handles each finding by itself.
//!
//! A repair may run in a server. It reads all bytes beside the other work of the server. Then it locks all
//! repositories, checks its findings again, because unfinished changes look like damage, and repairs those that
//! persist.

mod finding;
mod link_check;
mod orphans;
mod progress;
mod repair;
mod run;
mod scrub;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;

use super::{Error, Registry};
pub use finding::{FsckFinding, FsckReport, RepairOutcome, StoreDamage};
use portcullis_storage::DataDirLock;
pub use progress::{FsckProgress, RepairProgress};
use run::FsckRun;
use scrub::{BlobLocation, ScrubResult};

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
        let check = FsckRun { registry: self, now, all_locked: None };
        let places = check.blob_locations().await;
        let (mut found, doubtful) = check.run(&places, progress).await;
        if found.findings.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(recheck_delay).await;
        let (again, _) = check.run(&doubtful, &mut |_| {}).await;
        let again: HashSet<FsckFinding> = again.findings.into_iter().collect();
        found.findings.retain(|finding| finding.persists(&again));
        Ok(found)
    }

    /// Checks everything, repairs what can be repaired, and moves other damaged objects to the quarantine. The lock of
    /// the data folder keeps other processes away; in a server, changes wait from the end of the check to the end of
    /// the repair, if there are findings. Dropping the future ends the check at once, and the repair after the current
    /// finding.
    pub async fn fsck_repair(
        &self,
        _lock: &DataDirLock,
        now: SystemTime,
        observer: &mut (dyn FnMut(RepairProgress<'_>) + Send),
    ) -> Result<FsckReport, Error> {
        let maintenance = Arc::clone(&self.engine.maintenance).lock_owned().await;
        let check = FsckRun { registry: self, now, all_locked: None };
        let places = check.blob_locations().await;
        let (mut found, suspect) = check.run(&places, &mut |progress| observer(RepairProgress::Check(progress))).await;
        if found.findings.is_empty() {
            return Ok(found);
        }
        let (sender, mut repaired) = mpsc::unbounded_channel();
        let (registry, findings) = (self.clone(), std::mem::take(&mut found.findings));
        // A task of its own: a move that was begun ends before the locks are released, even if the caller is dropped.
        let repair = self.engine.tasks.spawn(async move {
            let _maintenance = maintenance;
            registry.repair_persistent(findings, &suspect, now, &sender).await
        });
        while let Some(finding) = repaired.recv().await {
            observer(RepairProgress::Finding(&finding));
            found.findings.push(finding);
        }
        repair.await.unwrap_or(Err(Error::Interrupted))?;
        Ok(found)
    }

    /// Locks all repositories, checks `findings` again, repairs those that persist, and sends each of them. Ends early
    /// if the receiver is dropped.
    async fn repair_persistent(
        &self,
        findings: Vec<FsckFinding>,
        suspect: &[BlobLocation],
        now: SystemTime,
        repaired: &mpsc::UnboundedSender<FsckFinding>,
    ) -> Result<(), Error> {
        let all_locked = tokio::select! {
            locked = self.engine.repositories.lock_all() => Some(locked),
            () = repaired.closed() => return Ok(()),
        };
        let check = FsckRun { registry: self, now, all_locked };
        // This only reads, so it can end anywhere.
        let mut unobserved = |_| {};
        let (again, _) = tokio::select! {
            again = check.run(suspect, &mut unobserved) => again,
            () = repaired.closed() => return Ok(()),
        };
        let again: HashSet<FsckFinding> = again.findings.into_iter().collect();
        // If some links were not seen, it is unknown which blobs are not linked.
        let all_links_seen = !again.iter().any(|finding| matches!(finding.damage, StoreDamage::StrangeFolder { .. }));
        for mut finding in findings.into_iter().filter(|finding| finding.persists(&again)) {
            if repaired.is_closed() {
                break;
            }
            finding.repair = check.repair_finding(&finding, all_links_seen).await?;
            // The receiver may have been dropped meanwhile; the finding is repaired all the same.
            let _ = repaired.send(finding);
        }
        Ok(())
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
