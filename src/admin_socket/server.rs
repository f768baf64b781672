//! Serves the admin socket: checks who connects, reads one request, and sends events until the request has ended.
//!
//! Invariant: the number of connections, the length of a request and the time until it arrives are bounded. A request
//! whose command ends is cancelled if it can be: it is not begun, and a collection or repair ends between two steps.

use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::UnixStream,
    sync::{Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    jobs::{AdminJobs, EventSender},
    listener::AdminListener,
    peer_credentials::{PeerCredentials, check_peer},
    protocol::{Event, InvalidRequest, MAX_REQUEST_LEN, Request},
};

/// The maximum number of simultaneous connections.
pub(super) const MAX_CONNECTIONS: usize = 16;

/// The time limit for a request after the connection was made.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// The time limit for sending one event to a command that does not read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after an error of `accept`, for example when no file descriptors are left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_secs(1);

/// The last event for commands whose requests end because the server does.
pub(super) const STOPPING: &str = "the server is stopping";

/// The server of the admin socket.
pub(crate) struct AdminServer {
    listener: AdminListener,
    jobs: AdminJobs,
}

impl AdminServer {
    /// Makes a server for the requests on `listener`.
    pub(crate) fn new(listener: AdminListener, jobs: AdminJobs) -> Self {
        Self { listener, jobs }
    }

    /// Serves until `stop` becomes true. Then it accepts no more connections and removes the socket, ends the requests
    /// that can be interrupted, and waits for the others.
    pub(crate) async fn run(self, mut stop: watch::Receiver<bool>) {
        let Self { listener, jobs } = self;
        let own = rustix::process::geteuid().as_raw();
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(_) = connections.join_next() => {}
                accepted = listener.listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let (jobs, slots, stop) = (jobs.clone(), slots.clone(), stop.clone());
                        connections.spawn(async move {
                            // An error of the connection: there is no peer for an answer.
                            let _ = serve_peer(stream, own, &slots, &jobs, stop).await;
                        });
                    }
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept a connection on the admin socket");
                        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
            }
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }
}

/// Serves one connection, if its peer may make requests and a slot is free.
async fn serve_peer(
    mut stream: UnixStream,
    own: u32,
    slots: &Semaphore,
    jobs: &AdminJobs,
    stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let credentials = stream.peer_cred()?;
    let peer = PeerCredentials { uid: credentials.uid(), pid: credentials.pid() };
    if let Err(refused) = check_peer(peer, own) {
        return send(&mut stream, &Event::failed(refused)).await;
    }
    let Ok(_slot) = slots.try_acquire() else {
        return send(&mut stream, &Event::failed("too many commands are connected to the server; try again later"))
            .await;
    };
    let (read, write) = stream.into_split();
    serve_connection(read, write, peer, jobs, stop).await
}

/// Reads a request, does it, and sends its events. Returns early if the peer ends its side of the connection.
pub(super) async fn serve_connection(
    read: impl AsyncRead + Unpin,
    mut write: impl AsyncWrite + Unpin,
    peer: PeerCredentials,
    jobs: &AdminJobs,
    mut stop: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut read = BufReader::new(read);
    let request = match timeout(REQUEST_TIMEOUT, read_request(&mut read)).await {
        Err(_) => return send(&mut write, &Event::failed("no request arrived in time")).await,
        Ok(Err(error)) => return Err(error),
        Ok(Ok(Err(invalid))) => return send(&mut write, &Event::failed(invalid)).await,
        Ok(Ok(Ok(request))) => request,
    };
    let PeerCredentials { uid, pid } = peer;
    tracing::info!(uid, pid, ?request, root = %jobs.root.display(), "request of a command");
    let can_stop = request.is_interruptible();
    let result = tokio::select! {
        result = run_request(request, peer, jobs, &mut write) => result?,
        () = disconnected(&mut read) => {
            tracing::info!(uid, pid, "the command has ended; its request is cancelled if it can be");
            return Ok(());
        }
        () = stopped(&mut stop), if can_stop => Event::failed(STOPPING),
    };
    send(&mut write, &result).await
}

async fn read_request(read: &mut (impl AsyncBufRead + Unpin)) -> io::Result<Result<Request, InvalidRequest>> {
    let mut line = Vec::new();
    // One byte more than allowed, so that a line that is too long is seen as such.
    read.take(MAX_REQUEST_LEN + 1).read_until(b'\n', &mut line).await?;
    Ok(Request::parse(&line))
}

/// Does the work and sends its events as they happen; returns the last event, which is not sent yet. The work is
/// cancelled when an event cannot be sent.
async fn run_request(
    request: Request,
    peer: PeerCredentials,
    jobs: &AdminJobs,
    write: &mut (impl AsyncWrite + Unpin),
) -> io::Result<Event> {
    let (items, mut queue) = mpsc::unbounded_channel();
    let (progress, mut latest) = watch::channel(None);
    let events = EventSender { items, progress };
    let work = async move { Ok(jobs.run(request, peer, &events).await) };
    let sending = async {
        loop {
            let event = tokio::select! {
                biased;
                item = queue.recv() => match item {
                    Some(item) => Some(item),
                    None => break,
                },
                Ok(()) = latest.changed() => latest.borrow_and_update().clone(),
            };
            if let Some(event) = event {
                send(write, &event).await?;
            }
        }
        // The last progress may have come with the end of the work.
        let last = {
            let value = latest.borrow_and_update();
            if value.has_changed() { value.clone() } else { None }
        };
        match last {
            Some(event) => send(write, &event).await,
            None => Ok(()),
        }
    };
    let (result, ()) = tokio::try_join!(work, sending)?;
    Ok(result)
}

/// Returns when the peer has closed its side of the connection. What it sends after its request is ignored.
async fn disconnected(read: &mut (impl AsyncRead + Unpin)) {
    let mut ignored = [0; 256];
    while read.read(&mut ignored).await.is_ok_and(|length| length > 0) {}
}

/// Returns when the server is stopping.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it the server.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn send(write: &mut (impl AsyncWrite + Unpin), event: &Event) -> io::Result<()> {
    let written = timeout(WRITE_TIMEOUT, async {
        write.write_all(&event.to_line()).await?;
        write.flush().await
    });
    written.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
