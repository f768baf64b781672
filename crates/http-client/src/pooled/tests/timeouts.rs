//! Each timeout, and that none of them counts the time of a transfer that makes progress.

use futures_util::{StreamExt as _, stream};
use http_body_util::StreamBody;
use tokio::time::{Instant, sleep};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_reading_the_request_is_given_up() {
    let Pipe { connection, server, pool } = Pipe::new().await;
    let (body, _) = Pieces::new(100);
    let started = Instant::now();
    let failure = send(connection, &pool, body).await.unwrap_err();
    assert!(matches!(failure, RequestError::SendTimedOut { delivery: Delivery::MaybeSent, .. }), "{failure:?}");
    assert_eq!(started.elapsed().as_secs(), TIMEOUTS.send.as_secs());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_read_slowly_takes_as_long_as_it_needs() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let (body, _) = Pieces::new(100);
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        let mut piece = vec![0; Pieces::LEN];
        for _ in 0..100 {
            sleep(TIMEOUTS.send / 2).await;
            server.read_exact(&mut piece).await.unwrap();
        }
        write(&mut server, "HTTP/1.1 204 No Content\r\n\r\n").await;
        server
    });
    assert_eq!(send(connection, &pool, body).await.unwrap().status(), 204);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_respond_is_given_up() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        server.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let started = Instant::now();
    let failure = send_empty(connection, &pool).await.unwrap_err();
    assert!(matches!(failure, RequestError::ResponseTimedOut(_)), "{failure:?}");
    assert_eq!(started.elapsed().as_secs(), TIMEOUTS.response.as_secs());
    assert_eq!(failure.delivery(), Delivery::MaybeSent);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_time_for_the_response_begins_after_the_last_byte_of_a_slow_request_body() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let pieces = stream::iter(0..4).then(|_| async {
        sleep(TIMEOUTS.response * 2).await;
        Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from_static(b"1")))
    });
    let server = tokio::spawn(async move {
        let mut received = Vec::new();
        while !received.ends_with(b"0\r\n\r\n") {
            server.read_buf(&mut received).await.unwrap();
        }
        sleep(TIMEOUTS.response / 2).await;
        write(&mut server, "HTTP/1.1 204 No Content\r\n\r\n").await;
        server.read_to_end(&mut received).await.unwrap();
    });
    let started = Instant::now();
    let body = StreamBody::new(pieces);
    assert_eq!(send(connection, &pool, body).await.unwrap().status(), 204);
    assert!(started.elapsed() >= TIMEOUTS.response * 8, "{:?}", started.elapsed());
    drop(pool);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_response_body_that_stops_is_given_up_and_one_that_is_slow_is_not() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        write(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n").await;
        for _ in 0..10 {
            sleep(TIMEOUTS.receive / 2).await;
            write(&mut server, "x").await;
        }
        server.read_to_end(&mut Vec::new()).await.unwrap();
    });
    let started = Instant::now();
    let mut body = send_empty(connection, &pool).await.unwrap().into_body();
    for _ in 0..10 {
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "x");
    }
    let failure = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(failure, RequestError::ReceiveTimedOut(_)), "{failure:?}");
    assert_eq!(started.elapsed().as_secs(), TIMEOUTS.receive.as_secs() * 6);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_takes_its_time_is_not_mistaken_for_a_slow_server() {
    let Pipe { connection, mut server, pool } = Pipe::new().await;
    let server = tokio::spawn(async move {
        read_head(&mut server).await;
        write(&mut server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1").await;
        sleep(TIMEOUTS.receive / 2).await;
        write(&mut server, "2").await;
        server
    });
    let mut body = send_empty(connection, &pool).await.unwrap().into_body();
    for expected in ["1", "2"] {
        sleep(TIMEOUTS.receive * 3).await;
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), expected);
    }
    assert!(body.frame().await.is_none());
    server.await.unwrap();
}
