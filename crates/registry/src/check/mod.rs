//! Checks the store for damage and repairs it: whether every link leads to content, and whether the digest of
//! every blob is the one in its path.
//!
//! Invariant: a check changes nothing; a repair deletes only objects that were never acknowledged. It moves wrong
//! objects to the quarantine, where an operator can inspect them, moves unneeded objects to the trash, and makes
//! missing objects again from existing ones.
//!
//! Checking and repairing are separate: [`look`] and [`reading`] report all damage with its consequences (a tag is
//! wrong if the bytes of its manifest are), and [`repair`] handles each finding by itself.

mod damage;
mod leftovers;
mod look;
mod reading;
mod repair;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    time::{Duration, SystemTime},
};

use super::{Error, Registry};
pub use damage::{Damage, Examination, Finding, Repair};
use portcullis_oci::RepositoryName;
use portcullis_storage::Claim;
use reading::{Place, Reading};

/// The minimum age of an orphan: anything younger may be the work of a running server.
const LEFTOVER: Duration = Duration::from_secs(60 * 60);

/// The progress of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The number of blobs read so far.
    pub blobs: usize,
    /// The number of blobs to read.
    pub of: usize,
    /// The number of bytes read so far.
    pub bytes: u64,
}

/// One run of the check.
struct Check<'a> {
    registry: &'a Registry,
    now: SystemTime,
}

impl Registry {
    /// The longest time from the first to the last change of one operation in flight.
    pub const IN_FLIGHT: Duration = Duration::from_secs(2);

    /// Checks everything and changes nothing. Other processes may change the store meanwhile: findings are checked
    /// again after `in_flight`, and only those that persist are reported.
    pub async fn examine(
        &self,
        now: SystemTime,
        in_flight: Duration,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Examination, Error> {
        let check = Check { registry: self, now };
        let places = check.places().await?;
        let (mut found, doubtful) = check.look(&places, progress).await?;
        if found.findings.is_empty() {
            return Ok(found);
        }
        tokio::time::sleep(in_flight).await;
        let (again, _) = check.look(&doubtful, &mut |_| {}).await?;
        let again: HashSet<Finding> = again.findings.into_iter().collect();
        found.findings.retain(|finding| again.contains(finding));
        Ok(found)
    }

    /// Checks everything, repairs what can be repaired, and moves other damaged objects to the quarantine. The claim
    /// keeps servers away: their operations in flight must not be repaired.
    pub async fn repair(
        &self,
        _alone: &Claim,
        now: SystemTime,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Examination, Error> {
        let check = Check { registry: self, now };
        let (mut found, _) = check.look(&check.places().await?, progress).await?;
        // If some links were not seen, it is unknown which blobs are not linked.
        let is_whole = !found.findings.iter().any(|finding| matches!(finding.damage, Damage::StrangeFolder { .. }));
        for finding in &mut found.findings {
            finding.repair = check.deal_with(finding, is_whole).await?;
        }
        Ok(found)
    }
}

impl Check<'_> {
    /// Reads the bytes at `places` and checks everything else. Also returns the places at which something is wrong.
    async fn look(
        &self,
        places: &[Place],
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<(Examination, Vec<Place>), Error> {
        let Reading { mut found, doubtful, unsound } = self.read(places, progress).await;
        found.findings.extend(self.look_at_links(&unsound).await?);
        found.findings.extend(self.leftovers().await?);
        Ok((found, doubtful))
    }
}

/// A finding that is not repaired yet.
fn finding(repository: Option<&RepositoryName>, damage: Damage) -> Finding {
    Finding { repository: repository.cloned(), damage, repair: Repair::None }
}
