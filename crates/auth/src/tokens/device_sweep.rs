//! Removes the records of refresh tokens that have ended: the user was removed or has another password, the device was
//! unused for too long, or its access token ended.
//!
//! Each record costs a folder, and none of these is ever used again, so that without a sweep the store would grow with
//! every `docker login` on a machine that is gone.
//!
//! Invariant: a record is removed only if it had ended at every look for [`SWEEP_DELAY`]. The delay is measured by the
//! monotonic clock, so that neither a wrong system clock nor a users file that is missing a line for an hour costs a
//! device its record. A round looks at a bounded number of records, and the memory that it needs is bounded.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use portcullis_clock::Clock;

use super::{
    id::StoredTokenId,
    model::StoredToken,
    state::{ParentRecord, StoredTokenState, TokenStateContext},
    store::{ListedToken, TokenStore},
};
use crate::{
    config::LegacyHashes,
    users::{Users, htpasswd::Htpasswd},
};
use portcullis_storage::StoreError;

/// The pause between two rounds.
const ROUND_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// How many records and folders a round looks at; the next round continues behind them.
const ROUND_BUDGET: usize = 1000;

/// How long a token must have ended before its record is removed.
pub(super) const SWEEP_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many ended records are remembered between two looks, some 50 bytes each. Further ones have their turn when these
/// are removed.
const MAX_CANDIDATES: usize = 10_000;

/// Removes ended refresh tokens from the store of a running server, some in each round.
pub struct DeviceSweep {
    store: TokenStore,
    refresh_lifetime: Duration,
    clock: Clock,
    /// The ended records, each with the time of the first look that found it ended.
    candidates: HashMap<StoredTokenId, Candidate>,
    /// The last position that was looked at in this pass over the store: owner hash and number.
    position: Option<(u32, u64)>,
    /// How many passes over the store were completed.
    pass: u64,
}

struct Candidate {
    ended_since: Instant,
    /// The pass that looked at the record last.
    pass: u64,
}

impl DeviceSweep {
    /// Sweeps the refresh tokens in `store`, which end after `refresh_lifetime` without use.
    #[must_use]
    pub fn new(store: TokenStore, refresh_lifetime: Duration, clock: Clock) -> Self {
        Self { store, refresh_lifetime, clock, candidates: HashMap::new(), position: None, pass: 0 }
    }

    /// Sweeps without end, by the users file that is in force. Only a server calls this, because it has the store to
    /// itself, apart from commands that create and revoke tokens.
    pub async fn run(mut self, users: Arc<Users>) {
        loop {
            tokio::time::sleep(ROUND_INTERVAL).await;
            let file = users.snapshot();
            // The clock of tokio, which tests can advance.
            let instant = tokio::time::Instant::now().into_std();
            if let Err(error) = self.run_round(&file, self.clock.now(), instant).await {
                tracing::warn!(%error, "the records of ended devices cannot be removed");
            }
        }
    }

    /// Looks at the next records, and removes those that ended long ago. Returns how many were removed.
    pub(super) async fn run_round(
        &mut self,
        users: &Htpasswd,
        now: SystemTime,
        clock: Instant,
    ) -> Result<usize, StoreError> {
        let (mut budget, mut removed) = (ROUND_BUDGET, 0);
        for owner in self.store.refresh_token_owners().await? {
            if self.is_behind(owner, u64::MAX) {
                continue;
            }
            let ids = match self.store.refresh_token_ids(owner).await {
                Ok(ids) => ids,
                Err(error) => {
                    // The next round continues behind this owner.
                    self.position = Some((owner, u64::MAX));
                    return Err(error);
                }
            };
            for id in ids {
                let StoredTokenId::Refresh { number, .. } = id else { continue };
                if self.is_behind(owner, number) {
                    continue;
                }
                if budget == 0 {
                    return Ok(removed);
                }
                budget -= 1;
                // Before the look, so that a record that cannot be read does not stop the rounds in front of it.
                self.position = Some((owner, number));
                removed += usize::from(self.look_at(id, users, now, clock).await?);
            }
            self.position = Some((owner, u64::MAX));
            budget = budget.saturating_sub(1);
            if budget == 0 {
                return Ok(removed);
            }
        }
        self.finish_pass();
        Ok(removed)
    }

    fn is_behind(&self, owner: u32, number: u64) -> bool {
        self.position.is_some_and(|position| (owner, number) <= position)
    }

    /// Begins at the first record again, and forgets the candidates that are not in the store any more.
    fn finish_pass(&mut self) {
        let pass = self.pass;
        self.candidates.retain(|_, candidate| candidate.pass == pass);
        self.pass += 1;
        self.position = None;
    }

    /// Looks at a record, and returns whether it was removed.
    async fn look_at(
        &mut self,
        id: StoredTokenId,
        users: &Htpasswd,
        now: SystemTime,
        clock: Instant,
    ) -> Result<bool, StoreError> {
        let Some((token, state)) = self.read_state(id, users, now).await? else { return Ok(false) };
        if !state.is_final() {
            self.candidates.remove(&id);
            return Ok(false);
        }
        if !self.candidates.contains_key(&id) && self.candidates.len() >= MAX_CANDIDATES {
            return Ok(false);
        }
        let pass = self.pass;
        let candidate = self.candidates.entry(id).or_insert(Candidate { ended_since: clock, pass });
        candidate.pass = pass;
        if clock.saturating_duration_since(candidate.ended_since) < SWEEP_DELAY {
            return Ok(false);
        }
        self.candidates.remove(&id);
        let was_there = self.store.remove(id).await?;
        if was_there {
            tracing::info!(user = %token.user, device = %id, reason = %state, "removed the record of an ended device");
        }
        Ok(was_there)
    }

    /// The record with this id and its state; `None` if a command removed it, or if it is damaged: what a damaged
    /// record was is not known, so that it is left to the operator, who sees it in the list.
    async fn read_state(
        &self,
        id: StoredTokenId,
        users: &Htpasswd,
        now: SystemTime,
    ) -> Result<Option<(StoredToken, StoredTokenState)>, StoreError> {
        let Some(ListedToken { token: Some(token), last_used, .. }) = self.read(id).await? else { return Ok(None) };
        let listed_parent = match token.parent() {
            Some(parent) => Some(self.read(parent).await?),
            None => None,
        };
        let parent = match &listed_parent {
            None => ParentRecord::None,
            Some(None) => ParentRecord::Missing,
            Some(Some(ListedToken { token: None, .. })) => ParentRecord::Damaged,
            Some(Some(ListedToken { token: Some(parent), .. })) => ParentRecord::Found(parent),
        };
        let context = TokenStateContext {
            users: Some(users),
            // Whether legacy hashes are accepted is a setting, and decides about no record for good.
            legacy_hashes: LegacyHashes::Rehash,
            refresh_lifetime: self.refresh_lifetime,
            now,
        };
        let state = context.state(&token, last_used, parent);
        Ok(Some((token, state)))
    }

    async fn read(&self, id: StoredTokenId) -> Result<Option<ListedToken>, StoreError> {
        Ok(self.store.read_listed(vec![id]).await?.pop())
    }
}
