//! Watches what a socket accepts: fails writes that stall, and records how much was written and when.
//!
//! It lies below TLS, so it sees what the network takes and not what a buffer takes.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// The content of the `io::Error` of a write that stalled, with the limit.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the server did not read for {0:?}")]
pub(super) struct SendStalled(pub(super) Duration);

/// What was written to a socket so far.
pub(super) struct SocketActivity(Mutex<Written>);

#[derive(Clone, Copy)]
pub(super) struct Written {
    /// The number of bytes.
    pub(super) bytes: u64,
    /// The time of the last write.
    pub(super) at: Instant,
}

impl SocketActivity {
    pub(super) fn written(&self) -> Written {
        *self.0.lock()
    }

    fn record(&self, len: usize) {
        let mut written = self.0.lock();
        written.bytes += len as u64;
        written.at = Instant::now();
    }
}

/// A stream whose writes fail if they make no progress within the timeout.
pub(super) struct WatchedStream<S> {
    inner: S,
    timeout: Duration,
    timer: Option<Pin<Box<Sleep>>>,
    activity: Arc<SocketActivity>,
}

impl<S> WatchedStream<S> {
    pub(super) fn new(inner: S, timeout: Duration) -> (Self, Arc<SocketActivity>) {
        let activity = Arc::new(SocketActivity(Mutex::new(Written { bytes: 0, at: Instant::now() })));
        (Self { inner, timeout, timer: None, activity: activity.clone() }, activity)
    }

    fn check_timeout(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(written) = written {
            self.timer = None;
            if let Ok(len) = written {
                self.activity.record(len);
            }
            return Poll::Ready(written);
        }
        let timeout = self.timeout;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, SendStalled(timeout))))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WatchedStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WatchedStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.check_timeout(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.check_timeout(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    // Neither of these two sends bytes on a TCP socket, so neither shows whether the server reads.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
