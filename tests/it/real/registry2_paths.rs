//! Compares the responses to thousands of random paths and ranges with registry:2.
//!
//! Invariant: every intended difference between the two is in [`IntendedDifference`] with its reason; any other one
//! fails the test.

use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use percent_encoding::percent_decode_str;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tempfile::TempDir;

use super::registry2_data::OldRegistry;
use crate::support::{
    PortcullisServer, ServerDir,
    oci_layout::digest,
    portcullis_server::ALICE,
    server_dir::basic_authorization,
    wire_connection::{self, WireConnection, request},
};

const PATHS: usize = 4000;
const RANGES: usize = 1000;
const BLOB: &[u8] = &counting();
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// docker-registry, on kept-alive connections without a client library.
struct Registry2Connection {
    registry: OldRegistry,
    _root: TempDir,
    stream: Option<TcpStream>,
}

impl Registry2Connection {
    fn start() -> Self {
        let root = tempfile::tempdir().unwrap();
        Self { registry: OldRegistry::start(root.path()), _root: root, stream: None }
    }

    fn ask(&mut self, method: &str, path: &str, header: &[&str], body: &[u8]) -> Registry2Response {
        let sent = request(method, path, header, body);
        let connect = || TcpStream::connect(("127.0.0.1", self.registry.port)).unwrap();
        let mut stream = self.stream.take().unwrap_or_else(connect);
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(&sent).unwrap();
        let (answer, is_kept) = read_answer(&mut stream, method);
        self.stream = is_kept.then_some(stream);
        answer
    }
}

struct Registry2Response {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Registry2Response {
    fn header(&self, name: &str) -> Option<String> {
        let pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned()).next()
    }
}

/// Reads a response, and whether the connection can be used again. A response without a length, and with a body, ends
/// it.
fn read_answer(stream: &mut TcpStream, method: &str) -> (Registry2Response, bool) {
    let mut received = Vec::new();
    let end = loop {
        if let Some(at) = received.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        let mut piece = [0; 8192];
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "an answer, not the end: {method} {}", String::from_utf8_lossy(&received));
        received.extend_from_slice(&piece[..count]);
    };
    let body = received.split_off(end);
    let head = String::from_utf8(received).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Registry2Response { status, head, body };
    if method == "HEAD" || matches!(status, 204 | 304) {
        return (answer, true);
    }
    let Some(length) = answer.header("content-length").map(|length| length.parse::<usize>().unwrap()) else {
        return (answer, false);
    };
    while answer.body.len() < length {
        let mut piece = [0; 8192];
        let count = stream.read(&mut piece).unwrap();
        // registry:2 announces the length of the blob in the error to a range, and closes the connection early.
        if count == 0 {
            return (answer, false);
        }
        answer.body.extend_from_slice(&piece[..count]);
    }
    let is_kept = answer.header("connection").as_deref() != Some("close");
    (answer, is_kept)
}

/// This server, on kept-alive connections without a client library.
struct PortcullisConnection<'a> {
    server: &'a PortcullisServer,
    wire: Option<WireConnection>,
}

impl PortcullisConnection<'_> {
    fn ask(&mut self, method: &str, path: &str, header: &[&str], body: &[u8]) -> wire_connection::WireResponse {
        let authorization = basic_authorization(&ALICE);
        let sent = request(method, path, &[&[authorization.as_str()], header].concat(), body);
        let mut wire = self.wire.take().unwrap_or_else(|| self.server.connect());
        wire.send(&sent);
        let answer = wire.response_to(method);
        if answer.header("connection") != Some("close") {
            self.wire = Some(wire);
        }
        answer
    }
}

/// Bytes that differ from their neighbours.
const fn counting() -> [u8; 2048] {
    let mut bytes = [0; 2048];
    let mut index = 1;
    while index < bytes.len() {
        bytes[index] = if bytes[index - 1] == 250 { 0 } else { bytes[index - 1] + 1 };
        index += 1;
    }
    bytes
}

fn manifest() -> String {
    serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"{}"), "size": 2},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(BLOB), "size": BLOB.len()}],
    })
    .to_string()
}

/// Pushes the same image to either server.
fn fill(mut ask: impl FnMut(&str, &str, &[&str], &[u8]) -> (u16, Option<String>)) {
    for name in ["team/app", "a"] {
        for blob in [BLOB, b"{}"] {
            let (status, place) = ask("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"");
            assert_eq!(status, 202);
            let place = place.unwrap();
            let place = place.find("/v2/").map(|start| &place[start..]).unwrap();
            let mark = if place.contains('?') { '&' } else { '?' };
            let content_type = ["Content-Type: application/octet-stream"];
            let (status, _) = ask("PUT", &format!("{place}{mark}digest={}", digest(blob)), &content_type, blob);
            assert_eq!(status, 201);
        }
        let content_type = format!("Content-Type: {MANIFEST}");
        let path = format!("/v2/{name}/manifests/1.0");
        assert_eq!(ask("PUT", &path, &[&content_type], manifest().as_bytes()).0, 201);
    }
}

/// Registry paths and others, with some of their letters percent-encoded once, twice or incorrectly.
fn paths() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "team/app",
        "team/app",
        "team/app",
        "a",
        "no/such",
        "Team/app",
        "team//app",
        "team/../a",
        "..",
        "-a",
        "a..b",
        "a_b",
    ]);
    let (blob, tagged) = (digest(BLOB), digest(manifest().as_bytes()));
    let rest = prop::sample::select(vec![
        "tags/list".to_owned(),
        "manifests/1.0".to_owned(),
        "manifests/unknown".to_owned(),
        "manifests/.x".to_owned(),
        format!("manifests/{tagged}"),
        "manifests/sha256:beef".to_owned(),
        format!("blobs/{blob}"),
        format!("blobs/{tagged}"),
        "blobs/sha256:beef".to_owned(),
        "blobs/uploads/2d5c1f58-6ee2-4d0e-95b3-0be7e5b2ea44".to_owned(),
        "blobs/uploads/x".to_owned(),
        "nothing".to_owned(),
    ]);
    let plain = prop_oneof![
        8 => (name, rest).prop_map(|(name, rest)| format!("/v2/{name}/{rest}")),
        1 => prop::sample::select(vec!["/v2/", "/v2", "/v2/_catalog", "/v2x", "/v2/a"]).prop_map(ToOwned::to_owned),
    ];
    let how = prop_oneof![
        6 => Just(vec!["%"]),
        2 => Just(vec!["%", "%25"]),
        1 => Just(vec!["%25"]),
        1 => Just(vec!["%", "%%", "%x"]),
    ];
    let chosen = prop::collection::vec(prop::option::weighted(0.2, any::<(prop::sample::Index, bool)>()), 1..60);
    (plain, how, chosen).prop_map(|(plain, how, chosen)| {
        let letters = plain.bytes().zip(chosen.iter().cycle()).enumerate();
        let encoded = letters.map(|(at, (byte, chosen))| match chosen {
            // The first slash begins the path and stays.
            Some((index, is_upper)) if at > 0 => {
                let percent = how[index.index(how.len())];
                if *is_upper { format!("{percent}{byte:02X}") } else { format!("{percent}{byte:02x}") }
            }
            Some(_) | None => char::from(byte).to_string(),
        });
        encoded.collect()
    })
}

fn ranges() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        6 => (0_u32..3000).prop_map(|number| number.to_string()),
        1 => prop::sample::select(vec!["", "0", "2047", "2048", "x", "007"]).prop_map(ToOwned::to_owned),
        1 => prop::sample::select(vec!["9223372036854775808", "18446744073709551615", "99999999999999999999"])
            .prop_map(ToOwned::to_owned),
    ];
    let dash = prop_oneof![9 => Just("-"), 1 => Just("")];
    let range = (number.clone(), dash, number).prop_map(|(first, dash, last)| format!("{first}{dash}{last}"));
    let several =
        prop_oneof![6 => Just(1), 1 => Just(2)].prop_flat_map(move |count| prop::collection::vec(range.clone(), count));
    let unit = prop_oneof![9 => Just("bytes="), 1 => Just("bytes= "), 1 => Just("lines="), 1 => Just("")];
    let random = (unit, several).prop_map(|(unit, ranges)| format!("{unit}{}", ranges.join(",")));
    prop_oneof![30 => random, 1 => prop::sample::select(vec!["bytes=-0", "bytes=", "bytes=-"]).prop_map(ToOwned::to_owned)]
}

/// The same values in each run, so that a difference is reproducible.
fn samples<T: Debug>(strategy: &impl Strategy<Value = T>, count: usize) -> Vec<T> {
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    (0..count).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

/// The intended differences between the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum IntendedDifference {
    /// Go's router redirects a path that it would write differently: a name with `..` or `//` leads to another
    /// repository. Such a name is invalid here, so that no request reaches a path that it did not name; and `/v2` is
    /// answered like `/v2/`.
    Redirect,
    /// A malformed digest of a manifest is an internal error (500) of registry:2; the specification demands 400.
    MalformedDigest,
    /// A range unit that the server does not support is ignored (RFC 9110, section 14.2); Go treats it as an error.
    OtherUnit,
    /// Several ranges may be ignored (the same section); Go answers with `multipart/byteranges`, which no registry
    /// client requests.
    SeveralRanges,
    /// A number beyond Go's `int64` is an error there; here a range that ends too late is clamped, however late.
    LargeNumber,
    /// A suffix range of no bytes: RFC 9110, section 14.1.2, calls it unsatisfiable, Go sends an empty part.
    NoBytes,
    /// A unit without a range: malformed here, ignored there.
    NoRange,
}

fn path_difference(path: &str, ours: u16, theirs: u16) -> Option<IntendedDifference> {
    let plain = percent_decode_str(path).decode_utf8_lossy();
    let is_unclean = plain.split('/').skip(1).any(|part| part == "..") || plain.contains("//");
    match (ours, theirs) {
        (400 | 404, 301) if is_unclean => Some(IntendedDifference::Redirect),
        (200, 301) if plain == "/v2" => Some(IntendedDifference::Redirect),
        (400, 500) if plain.ends_with("/manifests/sha256:beef") => Some(IntendedDifference::MalformedDigest),
        _ => None,
    }
}

fn range_difference(range: &str, ours: u16, theirs: u16) -> Option<IntendedDifference> {
    let is_large =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<i64>().is_err();
    let Some(spec) = range.strip_prefix("bytes=").map(str::trim) else {
        return ((ours, theirs) == (200, 416)).then_some(IntendedDifference::OtherUnit);
    };
    match (ours, theirs) {
        (200, 206 | 416) if spec.contains(',') => Some(IntendedDifference::SeveralRanges),
        (206, 416) if spec.split('-').any(is_large) => Some(IntendedDifference::LargeNumber),
        (416, 206) if spec == "-0" => Some(IntendedDifference::NoBytes),
        (416, 200) if spec.is_empty() => Some(IntendedDifference::NoRange),
        _ => None,
    }
}

struct ServerPair<'a> {
    ours: PortcullisConnection<'a>,
    theirs: Registry2Connection,
    /// How often each difference occurred; `None` counts equal answers.
    met: BTreeMap<Option<IntendedDifference>, usize>,
}

impl<'a> ServerPair<'a> {
    fn start(server: &'a PortcullisServer) -> Self {
        let (mut ours, mut theirs) = (PortcullisConnection { server, wire: None }, Registry2Connection::start());
        fill(|method, path, header, body| {
            let answer = ours.ask(method, path, header, body);
            (answer.status, answer.header("location").map(ToOwned::to_owned))
        });
        fill(|method, path, header, body| {
            let answer = theirs.ask(method, path, header, body);
            (answer.status, answer.header("location"))
        });
        Self { ours, theirs, met: BTreeMap::new() }
    }

    fn count(&mut self, difference: Option<IntendedDifference>) {
        *self.met.entry(difference).or_default() += 1;
    }

    fn met(&self, difference: Option<IntendedDifference>) -> usize {
        self.met.get(&difference).copied().unwrap_or_default()
    }
}

#[test]
fn a_path_however_it_is_spelled_is_answered_as_registry_2_answers_it() {
    let stage = ServerDir::new();
    let server = stage.start();
    let mut both = ServerPair::start(&server);
    let mut found = 0;
    for path in samples(&paths(), PATHS) {
        let accept = format!("Accept: {MANIFEST}");
        let (ours, theirs) =
            (both.ours.ask("GET", &path, &[&accept], b""), both.theirs.ask("GET", &path, &[&accept], b""));
        if ours.status / 100 == theirs.status / 100 {
            found += usize::from(ours.status == 200);
            both.count(None);
            continue;
        }
        let difference = path_difference(&path, ours.status, theirs.status);
        assert!(difference.is_some(), "{path}: registry:2 answers {}, and we answer {ours}", theirs.status);
        both.count(difference);
    }
    assert!(found > PATHS / 20, "{found} of {PATHS} paths led to something");
    for difference in [IntendedDifference::Redirect, IntendedDifference::MalformedDigest] {
        assert!(both.met(Some(difference)) > 0, "{difference:?} is none");
    }
    server.assert_serving();
}

#[test]
fn a_range_is_answered_as_registry_2_answers_it() {
    let stage = ServerDir::new();
    let server = stage.start();
    let mut both = ServerPair::start(&server);
    let path = format!("/v2/team/app/blobs/{}", digest(BLOB));
    let mut parts = 0;
    for range in samples(&ranges(), RANGES) {
        let header = format!("Range: {range}");
        let (ours, theirs) =
            (both.ours.ask("GET", &path, &[&header], b""), both.theirs.ask("GET", &path, &[&header], b""));
        if ours.status == theirs.status {
            if ours.status == 206 {
                assert_eq!(ours.header("content-range"), theirs.header("content-range").as_deref(), "{range}");
                assert_eq!(ours.body, theirs.body, "{range}");
                parts += 1;
            }
            both.count(None);
            continue;
        }
        let difference = range_difference(&range, ours.status, theirs.status);
        assert!(difference.is_some(), "{range}: registry:2 answers {}, and we answer {ours}", theirs.status);
        both.count(difference);
    }
    assert!(parts > RANGES / 20, "{parts} of {RANGES} ranges were answered with a part");
    for difference in [
        IntendedDifference::OtherUnit,
        IntendedDifference::SeveralRanges,
        IntendedDifference::LargeNumber,
        IntendedDifference::NoBytes,
        IntendedDifference::NoRange,
    ] {
        assert!(both.met(Some(difference)) > 0, "{difference:?} is none");
    }
    server.assert_serving();
}
