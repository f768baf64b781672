//! Lets a command have work done by the server that uses the same store, through request files in that store.
//!
//! Invariant: while a server uses a store, only that server collects garbage and removes repositories in it, because
//! the locks that keep these apart from pushes are in its memory. A command writes a request into the store and waits
//! for the report. Claiming and withdrawing a request both take its file away in one atomic step, so only one of them
//! succeeds. A request that its command no longer touches is dropped: the command is gone.
//!
//! ```text
//! command                                   server, once a second
//! write   requests/<uuid>/request
//! touch   …, until it is gone               publish …/request as …/claim
//!                                           do it
//! read    …/report, remove <uuid>           write   …/report
//! ```

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::sync::Mutex as AsyncMutex;

use super::{
    Engine, Error, GcReport, Registry, Repository, RepositoryStats,
    paths::{DirKey, ObjectKey, RequestId},
};
use portcullis_access::{Admin, LocalOperator};
use portcullis_oci::RepositoryName;
use portcullis_storage::{StoreError, StoreErrorKind, optional};

/// How often a server looks for requests, and a command for its report.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long a request stays valid after its command last touched it.
const REQUEST_TTL: Duration = Duration::from_secs(30);

/// How long a report is kept for the command that requested it.
const REPORT_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum size of a request in bytes: a repository name and a few words.
const MAX_REQUEST_LEN: u64 = 4096;

/// The maximum size in bytes of a report that is read.
const MAX_REPORT_LEN: u64 = 1 << 30;

/// A request of a command to the server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub(super) enum AdminRequest {
    /// Collect garbage. The result is a [`GcReport`].
    Collect,
    /// Remove a repository. The result is its [`RepositoryStats`], or `None` if there is no such repository.
    Remove { repository: RepositoryName },
}

/// The result of a request; an error is text.
type RequestResult<T> = Result<T, String>;

impl Registry {
    /// Has the server that uses this store collect garbage, and waits for the report. `is_alone` is called
    /// repeatedly, as in [`Repository::request_deletion`].
    pub async fn request_collection(
        &self,
        is_alone: impl FnMut() -> Result<bool, StoreError>,
    ) -> Result<Option<GcReport>, Error> {
        self.engine.submit_request(&AdminRequest::Collect, is_alone).await
    }

    /// Serves requests; never returns. Collections run one at a time; removals run beside them.
    pub(super) async fn serve_requests(&self, collecting: &AsyncMutex<()>) {
        let mut answers = FuturesUnordered::new();
        loop {
            tokio::select! {
                Some(()) = answers.next() => {}
                () = tokio::time::sleep(POLL_INTERVAL) => match self.engine.claim_requests().await {
                    Ok(claimed) => answers.extend(claimed.into_iter().map(|(id, request)| self.handle_request(id, request, collecting))),
                    Err(error) => tracing::error!(%error, "cannot read the requests of commands"),
                },
            }
        }
    }

    async fn handle_request(&self, id: RequestId, request: AdminRequest, collecting: &AsyncMutex<()>) {
        let answered = match request {
            AdminRequest::Collect => {
                let _lock = collecting.lock().await;
                let report = self.collect_and_log().await.map_err(|error| error.to_string());
                self.engine.write_report(id, &report).await
            }
            AdminRequest::Remove { repository } => {
                self.engine.write_report(id, &self.remove_to_completion(repository).await).await
            }
        };
        if let Err(error) = answered {
            tracing::error!(%error, "cannot write the report of a request");
        }
    }

    /// Removes a repository, and finishes even if the server is asked to stop meanwhile.
    async fn remove_to_completion(&self, name: RepositoryName) -> RequestResult<Option<RepositoryStats>> {
        let engine = self.engine.clone();
        let removed =
            self.engine.tasks.spawn(async move { engine.remove_repository(&name, LocalOperator::NAME).await }).await;
        match removed.unwrap_or(Err(Error::Interrupted)) {
            Ok(contents) => Ok(Some(contents)),
            Err(Error::NameUnknown(_)) => Ok(None),
            Err(error) => {
                tracing::error!(%error, "repository not removed");
                Err(error.to_string())
            }
        }
    }
}

impl Repository<Admin> {
    /// Has the server that uses this store remove the repository, and waits for the result. `is_alone` is called
    /// repeatedly and returns whether no other process uses the store (any more). Once it returns true, the result
    /// may be `None`: no server handles the request, and the caller may remove the repository itself.
    pub async fn request_deletion(
        &self,
        is_alone: impl FnMut() -> Result<bool, StoreError>,
    ) -> Result<Option<RepositoryStats>, Error> {
        let request = AdminRequest::Remove { repository: self.name.clone() };
        let answer: Option<Option<RepositoryStats>> = self.engine.submit_request(&request, is_alone).await?;
        match answer {
            Some(removed) => Ok(Some(removed.ok_or_else(|| Error::NameUnknown(self.name.clone()))?)),
            None => Ok(None),
        }
    }
}

impl Engine {
    /// Writes a request and waits for its result; `None` if no server handled it before `is_alone` returned true.
    async fn submit_request<T: DeserializeOwned>(
        &self,
        request: &AdminRequest,
        mut is_alone: impl FnMut() -> Result<bool, StoreError>,
    ) -> Result<Option<T>, Error> {
        let (id, store) = (RequestId::random(), &*self.store);
        let path = ObjectKey::Request(id).path();
        let text = serde_json::to_vec(request).expect("a request is plain text");
        store.write(&path, Bytes::from(text)).await?;
        let answer = loop {
            let is_claimed = optional(store.touch(&path).await)?.is_none();
            let is_alone = is_alone()?;
            if let Some(answer) = self.read_report(id).await? {
                break Some(answer);
            }
            if is_alone && (is_claimed || optional(store.remove(&path).await)?.is_some()) {
                break None;
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        };
        store.remove_tree(&DirKey::Request(id).path()).await?;
        Ok(answer.transpose()?)
    }

    /// The result in the report of a request; `None` if there is no report yet.
    async fn read_report<T: DeserializeOwned>(&self, id: RequestId) -> Result<Option<Result<T, StoreError>>, Error> {
        let path = ObjectKey::RequestReport(id).path();
        let Some(object) = optional(self.store.open(&path).await)? else { return Ok(None) };
        let text = object.read(MAX_REPORT_LEN).await?;
        let failed = |what: String| StoreError::new(StoreErrorKind::Unavailable, what);
        let answer: RequestResult<T> =
            serde_json::from_slice(&text).map_err(|error| failed(format!("{path}: {error}")))?;
        Ok(Some(answer.map_err(failed)))
    }

    async fn write_report<T: Serialize>(&self, id: RequestId, answer: &RequestResult<T>) -> Result<(), Error> {
        let text = serde_json::to_vec(answer).expect("a report is plain text and numbers");
        Ok(self.store.write(&ObjectKey::RequestReport(id).path(), text.into()).await?)
    }

    /// Claims all pending requests. Each request is claimed by one server only.
    pub(super) async fn claim_requests(&self) -> Result<Vec<(RequestId, AdminRequest)>, Error> {
        let mut claimed = Vec::new();
        for entry in self.store.list(&DirKey::Requests.path()).await? {
            let Ok(id) = entry.name.parse::<RequestId>() else { continue };
            if let Some(request) = self.claim_request(id).await? {
                claimed.push((id, request));
            }
        }
        Ok(claimed)
    }

    /// Claims a request; `None` if it was withdrawn, claimed by another server, abandoned or invalid.
    async fn claim_request(&self, id: RequestId) -> Result<Option<AdminRequest>, Error> {
        let (store, now) = (&*self.store, self.clock.now());
        let (path, claim) = (ObjectKey::Request(id).path(), ObjectKey::RequestClaim(id).path());
        let Some(stat) = optional(store.stat(&path).await)? else {
            self.remove_unread_report(id, now).await?;
            return Ok(None);
        };
        if optional(store.publish(&path, &claim).await)?.is_none() {
            return Ok(None);
        }
        let Some(object) = optional(store.open(&claim).await)? else { return Ok(None) };
        let request = serde_json::from_slice(&object.read(MAX_REQUEST_LEN).await?);
        if stat.age(now) > REQUEST_TTL {
            tracing::warn!(?request, "request dropped: the command that made it is no longer running");
            store.remove_tree(&DirKey::Request(id).path()).await?;
            return Ok(None);
        }
        match request {
            Ok(request) => Ok(Some(request)),
            Err(error) => {
                let answer: RequestResult<()> = Err(format!("this server does not understand the request: {error}"));
                self.write_report(id, &answer).await?;
                Ok(None)
            }
        }
    }

    /// Removes a report that its command never read, because the command was stopped while it waited.
    async fn remove_unread_report(&self, id: RequestId, now: SystemTime) -> Result<(), Error> {
        let report = optional(self.store.stat(&ObjectKey::RequestReport(id).path()).await)?;
        if report.is_some_and(|report| report.age(now) > REPORT_TTL) {
            self.store.remove_tree(&DirKey::Request(id).path()).await?;
        }
        Ok(())
    }
}
