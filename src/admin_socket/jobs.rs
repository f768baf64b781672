//! Does the work of the requests on the admin socket, and reports its steps as events.
//!
//! The peer of a request is the account that owns the data, or root: the local operator. This is the one place in the
//! server that acts as the local operator.

use std::{path::PathBuf, sync::Arc};

use tokio::sync::{mpsc, oneshot, watch};

use super::{
    peer_credentials::PeerCredentials,
    protocol::{Event, Request},
    token_jobs::TokenJobs,
};
use crate::{
    access::LocalOperator,
    clock::Clock,
    oci::RepositoryName,
    registry::{Error, FsckProgress, GcProgress, Registry, RepairProgress},
    reload::{ReloadRequest, ReloadTarget},
    storage::DataDirLock,
};

/// What the requests work on.
#[derive(Clone)]
pub(crate) struct AdminJobs {
    /// The registry of this server.
    pub(crate) registry: Registry,
    /// The data folder, for messages.
    pub(crate) root: PathBuf,
    /// The lock of the data folder, which this server holds.
    pub(crate) lock: Arc<DataDirLock>,
    /// Requests to read changed files at once.
    pub(crate) reloads: mpsc::Sender<ReloadRequest>,
    /// The tokens of this server.
    pub(crate) tokens: TokenJobs,
    /// The clock.
    pub(crate) clock: Clock,
}

/// Collects the events of one request for the connection. Findings and errors are queued; of the progress only the
/// latest value is kept, so that a slow reader does not slow the work down.
pub(super) struct EventSender {
    pub(super) items: mpsc::UnboundedSender<Event>,
    pub(super) progress: watch::Sender<Option<Event>>,
}

impl EventSender {
    fn send(&self, event: Event) {
        // The receiver ends before the work only if the connection did, and then the work is cancelled.
        let _ = self.items.send(event);
    }

    fn show_progress(&self, event: Event) {
        self.progress.send_replace(Some(event));
    }
}

impl Request {
    /// Whether the work may end before it is complete: between two steps everything is consistent.
    pub(super) fn is_interruptible(&self) -> bool {
        match self {
            Self::CollectGarbage | Self::Repair | Self::Reload { .. } => true,
            Self::RemoveRepository { .. } | Self::CreateToken(_) | Self::RevokeToken { .. } => false,
        }
    }
}

impl AdminJobs {
    /// Does what `request` says, and returns the last event.
    pub(super) async fn run(&self, request: Request, peer: PeerCredentials, events: &EventSender) -> Event {
        match request {
            Request::CollectGarbage => self.collect_garbage(events).await,
            Request::RemoveRepository { repository } => self.remove_repository(repository).await,
            Request::Repair => self.repair(events).await,
            Request::Reload { target } => self.reload(target).await,
            Request::CreateToken(line) => self.tokens.create(line, peer).await,
            Request::RevokeToken { token } => self.tokens.revoke(token, peer).await,
        }
    }

    async fn collect_garbage(&self, events: &EventSender) -> Event {
        let mut observer = |progress: GcProgress<'_>| match progress {
            GcProgress::Repositories { done, total } => events.show_progress(Event::GcProgress { done, total }),
            GcProgress::Garbage(garbage) => events.send(Event::Garbage(garbage.clone())),
            GcProgress::LeftOut(left_out) => events.send(Event::LeftOut(left_out.clone())),
        };
        match self.registry.collect_and_log(&mut observer).await {
            Ok(report) => Event::Collected { kept: report.kept, restored: report.restored },
            Err(error) => Event::failed(error),
        }
    }

    /// Removes a repository. Once begun, the removal runs to its end, even if this future is dropped.
    async fn remove_repository(&self, name: RepositoryName) -> Event {
        let repository = self.registry.open(&LocalOperator::assume().authorize(name));
        match repository.delete().await {
            Ok(contents) => Event::Removed(contents),
            Err(Error::NameUnknown(_)) => Event::NoSuchRepository,
            Err(error) => {
                tracing::error!(%error, repository = %repository.name(), "repository not removed");
                Event::failed(error)
            }
        }
    }

    async fn repair(&self, events: &EventSender) -> Event {
        let mut observer = |progress: RepairProgress<'_>| match progress {
            RepairProgress::Check(FsckProgress { blobs, total, bytes }) => {
                events.show_progress(Event::FsckProgress { blobs, total, bytes });
            }
            RepairProgress::Finding(finding) => {
                let repository = finding.repository.as_ref().map(tracing::field::display);
                tracing::warn!(repository, damage = %finding.damage, repair = %finding.repair, "damage found by a repair");
                events.send(Event::Finding(finding.clone()));
            }
        };
        tracing::info!("repair of the data folder begins");
        match self.registry.fsck_repair(&self.lock, self.clock.now(), &mut observer).await {
            Ok(report) => {
                let (blobs, findings) = (report.blobs, report.findings.len());
                tracing::info!(blobs, findings, "repair of the data folder ended");
                Event::Repaired { blobs, bytes: report.bytes }
            }
            Err(error) => {
                tracing::error!(%error, "repair of the data folder failed");
                Event::failed(error)
            }
        }
    }

    async fn reload(&self, target: ReloadTarget) -> Event {
        let (done, answer) = oneshot::channel();
        if self.reloads.send(ReloadRequest { target, done }).await.is_err() {
            return Event::failed("the server does not read changed files any more; see its log");
        }
        match answer.await {
            Ok(Ok(())) => Event::Reloaded,
            Ok(Err(error)) => Event::Failed { error },
            Err(_) => Event::failed("the files were not read; see the log of the server"),
        }
    }
}
