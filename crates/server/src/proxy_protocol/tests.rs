//! Tests the PROXY protocol parser with valid, malformed and random headers.

use proptest::prelude::*;
use tokio::runtime::Builder;

use super::*;

/// Parses these bytes as a stream; returns the result and the remaining bytes.
fn read_all(bytes: &[u8]) -> (Result<ProxiedOrigin, ProxyHeaderError>, Vec<u8>) {
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut stream = bytes;
        let origin = read_header(&mut stream).await;
        (origin, stream.to_vec())
    })
}

fn origin(bytes: &[u8]) -> Option<ProxiedOrigin> {
    let (origin, rest) = read_all(&[bytes, b"\x16rest"].concat());
    let origin = origin.ok()?;
    assert_eq!(rest, b"\x16rest", "what follows the header is the client's");
    Some(origin)
}

fn from(peer: &str, local: &str) -> ProxiedOrigin {
    ProxiedOrigin::Client { peer: peer.parse().unwrap(), local: local.parse().unwrap() }
}

fn block(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [SIGNATURE_V2.as_slice(), &[version_and_command, family], &length, block].concat()
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x30, 0x39, 1, 0xbb];

#[test]
fn version_1_names_the_client_or_nobody() {
    let v4 = from("192.0.2.1:12345", "198.51.100.2:443");
    assert_eq!(origin(b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\r\n"), Some(v4));
    let v6 = from("[2001:db8::1]:12345", "[::1]:443");
    assert_eq!(origin(b"PROXY TCP6 2001:db8::1 ::1 12345 443\r\n"), Some(v6));
    assert_eq!(origin(b"PROXY UNKNOWN\r\n"), Some(ProxiedOrigin::ProxyItself));
    assert_eq!(origin(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n"), Some(ProxiedOrigin::ProxyItself));
    let clothed = origin(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 12345 443\r\n");
    assert_eq!(clothed, Some(v4), "an IPv4 client is one");
}

#[test]
fn version_2_names_the_client_or_nobody_and_its_extensions_are_skipped() {
    let v4 = Some(from("192.0.2.1:12345", "198.51.100.2:443"));
    assert_eq!(origin(&block(0x21, 0x11, &TCP4)), v4);
    assert_eq!(origin(&block(0x21, 0x11, &[&TCP4[..], &[4, 0, 200], &[7; 200]].concat())), v4);
    let addresses = [Ipv6Addr::LOCALHOST.octets(), Ipv6Addr::LOCALHOST.octets()].concat();
    let v6 = block(0x21, 0x21, &[&addresses[..], &[0, 1, 0, 2]].concat());
    assert_eq!(origin(&v6), Some(from("[::1]:1", "[::1]:2")));
    for (command, family) in [(0x20, 0x00), (0x20, 0x11), (0x21, 0x00), (0x21, 0x31), (0x21, 0x12)] {
        assert_eq!(origin(&block(command, family, &TCP4)), Some(ProxiedOrigin::ProxyItself), "{command:x} {family:x}");
    }
    assert_eq!(origin(&block(0x20, 0, &[])), Some(ProxiedOrigin::ProxyItself), "a health check");
}

#[test]
fn what_is_no_header_is_refused() {
    for bytes in [
        b"GET / HTTP/1.1\r\n\r\n".as_slice(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 12345 443\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 443\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 443\r\n",
        b"PROXY TCP4 ::1 ::1 12345 443\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.2 12345 443\r\n",
        b"PROXY \xff\xff\xff\xff\xff\xff\r\n",
        &[b"PROXY ".as_slice(), &[b'x'; 200]].concat(),
        &block(0x11, 0x11, &TCP4),
        &block(0x22, 0x11, &TCP4),
        &block(0x21, 0x41, &TCP4),
        &block(0x21, 0x13, &TCP4),
        &block(0x21, 0x11, &TCP4[..11]),
        &block(0x21, 0x21, &TCP4),
        &block(0x21, 0x11, &[0; MAX_V2_BLOCK_LEN + 1]),
        b"PROXY TCP4",
        &SIGNATURE_V2[..],
        b"",
    ] {
        assert!(read_all(bytes).0.is_err(), "{:?}", String::from_utf8_lossy(bytes));
    }
}

proptest! {
    #[test]
    fn whatever_comes_there_is_an_end(
        head in prop_oneof![
            Just(Vec::new()),
            Just(SIGNATURE_V1.to_vec()),
            Just(SIGNATURE_V2.to_vec()),
            Just([SIGNATURE_V2.as_slice(), &[0x21, 0x11]].concat()),
        ],
        tail in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let bytes = [head, tail].concat();
        let (origin, rest) = read_all(&bytes);
        let taken = &bytes[..bytes.len() - rest.len()];
        prop_assert!(taken.len() <= DETECTION_LEN + 4 + MAX_V2_BLOCK_LEN);
        prop_assert!(origin.is_err() || is_header(taken));
    }

    #[test]
    fn what_version_1_says_is_read_as_it_was_meant(peer: SocketAddr, local_port: u16) {
        let local: IpAddr = if peer.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        let family = if peer.is_ipv4() { "TCP4" } else { "TCP6" };
        let line = format!("PROXY {family} {} {local} {} {local_port}\r\n", peer.ip(), peer.port());
        prop_assert_eq!(origin(line.as_bytes()), Some(client_origin(peer.ip(), peer.port(), local, local_port)));
    }
}
