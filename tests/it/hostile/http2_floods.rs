//! Tests HTTP/2 floods: each ends with its connection, within bounded memory, and other clients are served.

use super::http2_client::{
    CANCEL, COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, GOAWAY, HEADERS,
    Http2Connection, Http2Frame, NO_ERROR, PING, PROTOCOL_ERROR, REFUSED_STREAM, RST_STREAM, SETTINGS, block,
};
use super::idle_connections::resident;
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::{PortcullisServer, ServerDir};

/// The maximum growth of the process after a flood, allocator included; each flood sends or requests much more.
const MAX_GROWTH: u64 = 64 << 20;

const SHORT_TIMEOUTS: &str = "[limits]\nidle_timeout = \"2s\"\nheader_timeout = \"2s\"";

fn stage() -> ServerDir {
    let stage = ServerDir::new();
    stage.configure(SHORT_TIMEOUTS);
    stage
}

/// The error code of the server's last GOAWAY.
fn goaway_code(frames: &mut Http2Connection) -> Option<u32> {
    frames.rest().iter().rev().find(|frame| frame.kind == GOAWAY).map(Http2Frame::error)
}

/// Sends `many` so many times and asserts that the server stops reading, or has sent a GOAWAY with one of these
/// codes; after the GOAWAY, the server discards input for a while.
fn assert_ends(frames: &mut Http2Connection, many: &[u8], times: usize, said: &[u32]) {
    let is_stopped = (0..times).any(|_| frames.try_send(many).is_err());
    let code = goaway_code(frames);
    assert!(is_stopped || code.is_some_and(|code| said.contains(&code)), "the server kept reading: {code:?}");
}

/// Runs a flood and asserts that the server still answers and has grown little.
fn assert_survives(server: &PortcullisServer, flood: impl FnOnce(&mut Http2Connection)) {
    server.assert_serving();
    let before = resident(&server.daemon);
    let mut frames = Http2Connection::open(server, &[]);
    flood(&mut frames);
    server.assert_serving();
    let grown = resident(&server.daemon).saturating_sub(before);
    assert!(grown < MAX_GROWTH, "the flood left {grown} bytes behind");
}

#[test]
fn requests_that_are_taken_back_at_once_end_the_connection() {
    let stage = stage();
    let server = stage.start();
    let block = block("GET", "/v2/", &[]);
    assert_survives(&server, |frames| {
        let mut flood = Vec::new();
        for stream in (1..20_001).step_by(2) {
            flood.extend(Http2Frame::new(HEADERS, END_STREAM | END_HEADERS, stream, &block).bytes());
            flood.extend(Http2Frame::new(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()).bytes());
        }
        // An error means that the server has closed the connection already.
        let _ = frames.try_send(&flood);
        assert_eq!(goaway_code(frames).unwrap_or(ENHANCE_YOUR_CALM), ENHANCE_YOUR_CALM);
    });
}

#[test]
fn more_requests_at_a_time_than_allowed_are_refused_and_the_others_are_not() {
    let stage = stage();
    let server = stage.start();
    let header = basic_authorization(&ALICE);
    let (_, credentials) = header.split_once(": ").unwrap();
    let block = block("PUT", "/v2/a/manifests/1", &[("authorization", credentials)]);
    let mut frames = Http2Connection::open(&server, &[]);
    for stream in (1..=2 * 150).step_by(2) {
        // The bodies of these requests are never sent.
        frames.send(&Http2Frame::new(HEADERS, END_HEADERS, stream, &block).bytes());
    }
    frames.send(&Http2Frame::new(PING, 0, 0, &[7; 8]).bytes());
    let mut refused = Vec::new();
    while let Some(frame) = frames.next().filter(|frame| frame.kind != PING) {
        if frame.kind == SETTINGS && frame.flags == 0 {
            let limit = frame.payload.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("a limit is announced");
            assert_eq!(limit[2..], 128_u32.to_be_bytes());
        }
        if frame.kind == RST_STREAM {
            assert_eq!(frame.error(), REFUSED_STREAM);
            refused.push(frame.stream);
        }
    }
    refused.sort_unstable();
    let expected: Vec<u32> = (1..=2 * 150).step_by(2).skip(128).collect();
    assert_eq!(refused, expected, "those beyond the 128th");
    server.assert_serving();
}

#[test]
fn settings_and_pings_without_end_are_taken_no_faster_than_their_answers() {
    let stage = stage();
    let server = stage.start();
    for frame in [Http2Frame::new(PING, 0, 0, &[7; 8]), Http2Frame::new(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        assert_survives(&server, |frames| {
            let many = frame.bytes().repeat(4096);
            // The answers are not read: once the buffers of both sides are full, the server stops reading. None of
            // this is a request, so the connection counts as idle and ends at the idle timeout.
            assert_ends(frames, &many, 10_000, &[NO_ERROR, ENHANCE_YOUR_CALM]);
        });
    }
}

#[test]
fn a_header_without_end_is_not_waited_for() {
    let stage = stage();
    let server = stage.start();
    // Literal fields, and empty frames, which cost nothing to send.
    for payload in [[&[0, 1, b'a', 0x7e][..], &[b'x'; 126]].concat().repeat(100), Vec::new()] {
        assert_survives(&server, |frames| {
            frames.send(&Http2Frame::new(HEADERS, 0, 1, &block("GET", "/v2/", &[])).bytes());
            let many = Http2Frame::new(CONTINUATION, 0, 1, &payload).bytes().repeat(100);
            assert_ends(frames, &many, 1000, &[PROTOCOL_ERROR, COMPRESSION_ERROR, ENHANCE_YOUR_CALM]);
        });
    }
}

#[test]
fn a_header_that_is_too_long_is_refused_and_the_connection_lives() {
    let stage = stage();
    let server = stage.start();
    assert_survives(&server, |frames| {
        let field = [&[0, 1, b'a', 0x7e][..], &[b'x'; 126]].concat();
        let piece = field.repeat(120);
        frames.send(&Http2Frame::new(HEADERS, END_STREAM, 1, &block("GET", "/v2/", &[])).bytes());
        frames.send(&Http2Frame::new(CONTINUATION, 0, 1, &piece).bytes());
        frames.send(&Http2Frame::new(CONTINUATION, 0, 1, &piece).bytes());
        frames.send(&Http2Frame::new(CONTINUATION, END_HEADERS, 1, &piece).bytes());
        let answer = std::iter::from_fn(|| frames.next()).find(|frame| frame.stream == 1).unwrap();
        // 431 as a literal of the status field, or the end of the stream.
        let is_431 = answer.kind == HEADERS && answer.payload.windows(3).any(|window| window == b"431");
        let is_huffman_431 = answer.kind == HEADERS && answer.payload.starts_with(&[0x48]);
        assert!(is_431 || is_huffman_431 || answer.kind == RST_STREAM, "{answer:?}");
        frames.send(&Http2Frame::new(PING, 0, 0, &[7; 8]).bytes());
        assert!(std::iter::from_fn(|| frames.next()).any(|frame| frame.kind == PING), "the connection stays open");
    });
}

#[test]
fn empty_pieces_of_a_body_without_end_end_the_connection() {
    let stage = stage();
    let server = stage.start();
    let header = basic_authorization(&ALICE);
    let (_, credentials) = header.split_once(": ").unwrap();
    assert_survives(&server, |frames| {
        let block = block("PUT", "/v2/a/manifests/1", &[("authorization", credentials)]);
        frames.send(&Http2Frame::new(HEADERS, END_HEADERS, 1, &block).bytes());
        let many = Http2Frame::new(DATA, 0, 1, &[]).bytes().repeat(4096);
        assert_ends(frames, &many, 100, &[ENHANCE_YOUR_CALM]);
    });
}

#[test]
fn whoever_asks_for_layers_and_takes_no_byte_is_cut_and_costs_no_memory() {
    let stage = stage();
    let server = stage.start();
    let content = random_bytes(4 << 20);
    let blob = digest(&content);
    let path = format!("/v2/a/blobs/uploads/?digest={blob}");
    server.request_as_alice("POST", &path, &[], &content).expect(201);
    server.assert_serving();
    let before = resident(&server.daemon);
    let header = basic_authorization(&ALICE);
    let (_, credentials) = header.split_once(": ").unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE of zero, or of one byte.
    for window in [0, 1] {
        let mut frames = Http2Connection::open(&server, &[(4, window)]);
        let block = block("GET", &format!("/v2/a/blobs/{blob}"), &[("authorization", credentials)]);
        for stream in (1..=2 * 100).step_by(2) {
            frames.send(&Http2Frame::new(HEADERS, END_STREAM | END_HEADERS, stream, &block).bytes());
        }
        // The connection ends after its settings and the response headers; the server's pings would not count as
        // progress.
        let got = frames.rest();
        assert!(got.iter().filter(|frame| frame.kind == HEADERS).count() == 100, "all were answered");
        let bytes: usize = got.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
        assert!(bytes <= 100, "no more than the windows");
        let grown = resident(&server.daemon).saturating_sub(before);
        assert!(grown < MAX_GROWTH, "{grown} bytes for a client that reads none");
    }
    server.assert_serving();
}
