//! Bodies, and what servers send that is not a response.

use futures_util::stream;
use http_body_util::StreamBody;

use super::*;

const TOTAL: u64 = 64 << 20;

/// More than the buffers of the client and of the pipe together, and far less than the body.
const MAX_IN_FLIGHT: u64 = 1 << 20;

#[tokio::test]
async fn a_body_of_64_mib_streams_in_both_directions_in_bounded_memory() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let (body, made) = Pieces::new(TOTAL / Pieces::LEN as u64);
    let (received, written) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    let (written_here, received_there) = (written.clone(), received.clone());
    let server = tokio::spawn(async move {
        let head = read_head(&mut server).await;
        assert_eq!(head[0], "PUT /key?a=b HTTP/1.1");
        assert!(head.contains(&format!("content-length: {TOTAL}")), "{head:?}");
        assert!(head.contains(&"host: store.test".to_owned()), "{head:?}");
        let (mut piece, mut taken) = (vec![0; Pieces::LEN], 0);
        while taken < TOTAL {
            taken += server.read(&mut piece).await.unwrap() as u64;
            let in_flight = made.load(Ordering::Relaxed) - taken;
            assert!(in_flight < MAX_IN_FLIGHT, "the client holds {in_flight} bytes");
        }
        write(&mut server, &format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n")).await;
        while written_here.load(Ordering::Relaxed) < TOTAL {
            server.write_all(&piece).await.unwrap();
            let total = written_here.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
            let in_flight = total - received_there.load(Ordering::Relaxed);
            assert!(in_flight < MAX_IN_FLIGHT, "the client holds {in_flight} bytes");
        }
        server
    });
    let mut response = send(connection, &pool, body).await.unwrap().into_body();
    while let Some(frame) = response.frame().await {
        received.fetch_add(frame.unwrap().into_data().unwrap().len() as u64, Ordering::Relaxed);
    }
    assert_eq!(received.load(Ordering::Relaxed), TOTAL);
    server.await.unwrap();
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_arrives_and_its_connection_is_not_used_again() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let (body, _) = Pieces::new(1000);
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        write(&mut server, "HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow").await;
        server
    });
    let response = send(connection, &pool, body).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slow");
    assert_eq!(pool.len(&origin()), 0);
    server.await.unwrap();
}

#[tokio::test]
async fn a_response_that_is_dropped_before_its_end_closes_its_connection() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        write(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345").await;
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the connection must end");
    });
    drop(send_empty(connection, &pool).await.unwrap());
    server.await.unwrap();
    assert_eq!(pool.len(&origin()), 0);
}

async fn failure_after(response: &str) -> RequestError {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let text = response.to_owned();
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        let _ = server.write_all(text.as_bytes()).await;
    });
    let failure = match send_empty(connection, &pool).await {
        Ok(response) => response.into_body().collect().await.unwrap_err(),
        Err(error) => error,
    };
    server.await.unwrap();
    assert_eq!(failure.delivery(), Delivery::MaybeSent);
    assert_eq!(pool.len(&origin()), 0);
    failure
}

#[tokio::test]
async fn what_is_not_http_and_a_head_without_end_are_invalid_responses() {
    let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(40_000));
    for response in ["SSH-2.0-OpenSSH\r\n\r\n", &endless, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
    {
        let failure = failure_after(response).await;
        assert!(matches!(failure, RequestError::InvalidResponse(_)), "{failure:?}");
    }
}

#[tokio::test]
async fn a_connection_that_ends_within_the_response_is_reported_as_such() {
    for response in ["", "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"] {
        let failure = failure_after(response).await;
        assert!(matches!(failure, RequestError::Disconnected { .. }), "{failure:?}");
    }
}

#[tokio::test]
async fn a_request_body_that_fails_ends_the_request() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let pieces = [Ok(Frame::data(Bytes::from_static(b"1"))), Err(std::io::Error::other("source is gone"))];
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        let _ = server.read_to_end(&mut Vec::new()).await;
    });
    let failure = send(connection, &pool, StreamBody::new(stream::iter(pieces))).await.unwrap_err();
    assert!(matches!(failure, RequestError::RequestBody(_)), "{failure:?}");
    server.await.unwrap();
}
