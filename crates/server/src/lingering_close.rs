//! Lingering close: drains input after shutting down the write side, so that the final response is not lost to a TCP
//! reset.
//!
//! If a socket with unread input is closed, the kernel sends a reset, and the reset discards data that the peer has not
//! read yet: a client that is rejected while it is still sending a large body would see a broken connection instead of
//! the response (RFC 9112 section 9.6).
//!
//! Invariant: after the shutdown, input is discarded, and the close takes no longer than [`MAX_LINGER_TIME`].

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

/// Maximum silence of the peer after the last byte was sent. A peer that has read it closes at once, and a peer that is
/// still sending is never silent for so long: its data waits in the receive buffer.
const LINGER_QUIET_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum time for which the peer may keep sending.
const MAX_LINGER_TIME: Duration = Duration::from_secs(10);

/// A stream that reads and discards input after its write side was shut down.
pub(super) struct LingeringClose<I> {
    inner: I,
    linger: Option<LingerState>,
}

struct LingerState {
    deadline: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl<I> LingeringClose<I> {
    pub(super) fn new(inner: I) -> Self {
        Self { inner, linger: None }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for LingeringClose<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for LingeringClose<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { inner, linger: parting } = &mut *self;
        if parting.is_none() {
            ready!(Pin::new(&mut *inner).poll_shutdown(context))?;
            *parting = Some(LingerState {
                deadline: Instant::now() + MAX_LINGER_TIME,
                quiet: Box::pin(sleep(LINGER_QUIET_TIMEOUT)),
            });
        }
        match parting {
            Some(parting) => parting.poll_wait_for_end(inner, context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl LingerState {
    /// Ready when the peer has closed the connection, is silent, or has been sending for too long. Errors do not matter
    /// any more at this point.
    fn poll_wait_for_end<I: AsyncRead + Unpin>(&mut self, inner: &mut I, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; 16 << 10];
        loop {
            let mut into = ReadBuf::new(&mut piece);
            match Pin::new(&mut *inner).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && Instant::now() < self.deadline => {
                    let silent_at = Instant::now() + LINGER_QUIET_TIMEOUT;
                    self.quiet.as_mut().reset(silent_at.min(self.deadline));
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.quiet.as_mut().poll(context),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, duplex},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (listener.accept().await.unwrap().0, theirs)
    }

    #[tokio::test]
    async fn last_words_reach_a_peer_that_is_still_sending() {
        let (ours, theirs) = pair().await;
        let (mut reading, mut writing) = theirs.into_split();
        let talking = tokio::spawn(async move {
            writing.write_all(&vec![0; 8 << 20]).await.unwrap();
            writing.shutdown().await.unwrap();
        });
        let mut ours = LingeringClose::new(ours);
        ours.write_all(b"enough").await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        talking.await.unwrap();
        let mut heard = String::new();
        reading.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "enough");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_left_is_not_waited_for() {
        let (ours, theirs) = duplex(16);
        drop(theirs);
        let started = Instant::now();
        let _ = LingeringClose::new(ours).shutdown().await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_is_waited_for_only_a_moment() {
        let (ours, _theirs) = duplex(16);
        let started = Instant::now();
        LingeringClose::new(ours).shutdown().await.unwrap();
        assert_eq!(started.elapsed(), LINGER_QUIET_TIMEOUT);
    }
}
