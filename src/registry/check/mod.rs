//! The registry against itself: does everything lead somewhere, and is every byte what its name says?
//!
//! Invariant: a check changes nothing; a repair deletes only what nobody was ever told would be kept. What is wrong is moved
//! to the quarantine, where a person can look at it, what nobody needs to the trash, and what is only missing is made again
//! from what is there.
//!
//! Looking and repairing are apart: [`look`] and [`reading`] say what is wrong, all consequences included (a tag whose
//! manifest's bytes are wrong means nothing), and [`repair`] deals with each finding by itself.

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
use crate::{oci::RepositoryName, storage::Claim};
pub use damage::{Damage, Examination, Finding, Repair};
use reading::{Place, Reading};

/// How old something half-done must be before it is a leftover: whoever does it may be a server that is at work.
const LEFTOVER: Duration = Duration::from_secs(60 * 60);

/// How far an examination has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Blobs read so far.
    pub blobs: usize,
    /// Blobs in all.
    pub of: usize,
    /// Bytes read so far.
    pub bytes: u64,
}

/// One examination.
struct Check<'a> {
    registry: &'a Registry,
    now: SystemTime,
}

impl Registry {
    /// How long what is in flight takes at most, from its first change of the store to its last.
    pub const IN_FLIGHT: Duration = Duration::from_secs(2);

    /// Looks at everything and changes nothing. Others may be changing the store meanwhile: what is wrong is looked at again
    /// after `in_flight`, and counts only if it still is.
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

    /// Looks at everything, puts right what can be put right and moves what cannot out of the way. The claim keeps servers
    /// off: what they have in flight must not be repaired.
    pub async fn repair(
        &self,
        _alone: &Claim,
        now: SystemTime,
        progress: &mut (dyn FnMut(Progress) + Send),
    ) -> Result<Examination, Error> {
        let check = Check { registry: self, now };
        let (mut found, _) = check.look(&check.places().await?, progress).await?;
        // Whoever cannot say what is linked cannot say what is not.
        let is_whole = !found.findings.iter().any(|finding| matches!(finding.damage, Damage::StrangeFolder { .. }));
        for finding in &mut found.findings {
            finding.repair = check.deal_with(finding, is_whole).await?;
        }
        Ok(found)
    }
}

impl Check<'_> {
    /// Reads the bytes at `places`, and looks at everything else. Says also with which places something is wrong.
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

/// Something is wrong, of which nobody has taken care yet.
fn finding(repository: Option<&RepositoryName>, damage: Damage) -> Finding {
    Finding { repository: repository.cloned(), damage, repair: Repair::None }
}
