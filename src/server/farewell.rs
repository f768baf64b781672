//! A stream that is closed in such a way that its last words arrive.
//!
//! A socket that is closed while it holds bytes that nobody has read makes the kernel send a reset, and a reset takes with
//! it what the peer has not read yet: a client that is refused while it is still sending a large body would see a broken
//! connection and not why (RFC 9112 section 9.6).
//!
//! Invariant: after the shutdown nothing that comes is looked at, and nothing is waited for longer than [`LONGEST`].

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

/// How long the peer may be silent after our last word. One that has read it leaves at once, and one that is still sending
/// is never so silent: what it sent meanwhile waits in our buffer.
const QUIET: Duration = Duration::from_millis(500);

/// How long it may go on sending.
const LONGEST: Duration = Duration::from_secs(10);

/// Reads and throws away what still comes after our side was shut down.
pub(super) struct Farewell<I> {
    inner: I,
    parting: Option<Parting>,
}

struct Parting {
    until: Instant,
    quiet: Pin<Box<Sleep>>,
}

impl<I> Farewell<I> {
    pub(super) fn new(inner: I) -> Self {
        Self { inner, parting: None }
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncRead for Farewell<I> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Farewell<I> {
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
        let Self { inner, parting } = &mut *self;
        if parting.is_none() {
            ready!(Pin::new(&mut *inner).poll_shutdown(context))?;
            *parting = Some(Parting { until: Instant::now() + LONGEST, quiet: Box::pin(sleep(QUIET)) });
        }
        match parting {
            Some(parting) => parting.poll_wait_for_end(inner, context).map(Ok),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Parting {
    /// Ready when the peer has left, is silent, or has gone on for too long: there is no error that would matter now.
    fn poll_wait_for_end<I: AsyncRead + Unpin>(&mut self, inner: &mut I, context: &mut Context<'_>) -> Poll<()> {
        let mut piece = [0; 16 << 10];
        loop {
            let mut into = ReadBuf::new(&mut piece);
            match Pin::new(&mut *inner).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && Instant::now() < self.until => {
                    let silent_at = Instant::now() + QUIET;
                    self.quiet.as_mut().reset(silent_at.min(self.until));
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
        io::{AsyncReadExt, AsyncWriteExt},
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
        let mut ours = Farewell::new(ours);
        ours.write_all(b"enough").await.unwrap();
        ours.shutdown().await.unwrap();
        drop(ours);
        talking.await.unwrap();
        let mut heard = String::new();
        reading.read_to_string(&mut heard).await.unwrap();
        assert_eq!(heard, "enough");
    }

    #[tokio::test]
    async fn a_peer_that_has_left_is_not_waited_for() {
        let (ours, theirs) = pair().await;
        drop(theirs);
        let started = Instant::now();
        let _ = Farewell::new(ours).shutdown().await;
        assert!(started.elapsed() < QUIET / 2);
    }

    #[tokio::test]
    async fn a_silent_peer_is_waited_for_only_a_moment() {
        let (ours, _theirs) = pair().await;
        let started = Instant::now();
        Farewell::new(ours).shutdown().await.unwrap();
        assert!(started.elapsed() >= QUIET && started.elapsed() < QUIET * 3, "{:?}", started.elapsed());
    }
}
