//! Tests of the client: over sockets what concerns connections, over a pipe in memory with paused time what concerns
//! the stages of a request.

mod connections;
mod proxies;
mod streaming;
mod timeouts;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Empty};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, DuplexStream, duplex};

use super::{
    Connection, Delivery, IdlePool, Origin, PoolTimeouts, RequestError, ResponseBody, WatchedStream, in_origin_form,
    request_body::RequestBody, response_body::into_response,
};

const TIMEOUTS: PoolTimeouts = PoolTimeouts {
    connect: Duration::from_secs(2),
    send: Duration::from_secs(3),
    response: Duration::from_secs(5),
    receive: Duration::from_secs(7),
};

const PIPE_LEN: usize = 64 << 10;

/// A client with one connection to a server that the test plays.
struct Pipe {
    connection: Connection,
    server: BufReader<DuplexStream>,
    pool: Arc<IdlePool>,
}

impl Pipe {
    async fn new() -> Self {
        let (client, server) = duplex(PIPE_LEN);
        let (client, activity) = WatchedStream::new(client, TIMEOUTS.send);
        let connection = Connection::start(client, activity, TIMEOUTS).await.unwrap();
        let pool = Arc::new(IdlePool::new(4, Duration::from_secs(60)));
        Self { connection, server: BufReader::new(server), pool }
    }
}

fn origin() -> Origin {
    "http://store.test".parse().unwrap()
}

/// Sends a request on a connection that goes to `pool` afterwards.
async fn send<B>(connection: Connection, pool: &Arc<IdlePool>, body: B) -> Result<Response<ResponseBody>, RequestError>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let request = Request::put("http://store.test/key?a=b").body(RequestBody::new(body)).unwrap();
    let pending = connection.send(in_origin_form(request, &origin()).unwrap()).await;
    Ok(into_response(pending.map_err(|failed| failed.error)?, pool, &origin()))
}

async fn send_empty(connection: Connection, pool: &Arc<IdlePool>) -> Result<Response<ResponseBody>, RequestError> {
    send(connection, pool, Empty::new()).await
}

/// Reads a request head and returns its lines.
async fn read_head(server: &mut BufReader<DuplexStream>) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        server.read_line(&mut line).await.unwrap();
        if line.trim_end().is_empty() {
            return lines;
        }
        lines.push(line.trim_end().to_owned());
    }
}

async fn write(server: &mut BufReader<DuplexStream>, text: &str) {
    server.write_all(text.as_bytes()).await.unwrap();
}

/// A body of a known size that makes its pieces when they are asked for.
struct Pieces {
    remaining: u64,
    made: Arc<AtomicU64>,
}

impl Pieces {
    const LEN: usize = 32 << 10;

    fn new(count: u64) -> (Self, Arc<AtomicU64>) {
        let made = Arc::<AtomicU64>::default();
        (Self { remaining: count, made: made.clone() }, made)
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        self.remaining -= 1;
        self.made.fetch_add(Self::LEN as u64, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(vec![7; Self::LEN])))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining * Self::LEN as u64)
    }
}
