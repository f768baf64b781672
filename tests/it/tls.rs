//! Tests certificates and handshakes with OpenSSL.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::tool_command::ToolOutput;
use crate::support::wire_connection::WireConnection;
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

fn openssl(folder: &Path, arguments: &str) -> ToolOutput {
    ToolCommand::new("openssl").folder(folder).args(arguments.split_whitespace()).run()
}

/// The output of `openssl s_client` for a handshake with these options.
fn handshake(server: &PortcullisServer, options: &str) -> ToolOutput {
    let target = server.stage.address();
    openssl(
        server.stage.folder(),
        &format!("s_client -connect {target} -servername localhost -CAfile certs/ca.crt {options}"),
    )
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn tls_1_2_and_1_3_are_spoken_and_what_is_older_is_refused() {
    let stage = ServerDir::new();
    let server = stage.start();
    for (option, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let output =
            handshake(&server, &format!("{option} -verify_return_error -verify_hostname localhost -x509_strict"));
        assert!(output.is_success() && output.stdout.contains(shown), "{output}");
        assert!(output.stdout.contains("Verify return code: 0 (ok)"), "{output}");
    }
    for option in ["-tls1_1", "-tls1"] {
        // Security level 0, or OpenSSL itself would refuse to offer it.
        let output = handshake(&server, &format!("{option} -cipher ALL:@SECLEVEL=0"));
        assert!(!output.is_success(), "{output}");
        let is_told =
            ["alert protocol version", "alert handshake failure"].iter().any(|alert| output.stderr.contains(alert));
        assert!(is_told, "the server should say so rather than hang up: {output}");
    }
    for cipher in ["AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "NULL-SHA256", "ADH-AES128-SHA256"] {
        let output = handshake(&server, &format!("-tls1_2 -cipher {cipher}:@SECLEVEL=0"));
        assert!(!output.is_success(), "{cipher} is outdated: {output}");
    }
    server.assert_serving();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn tls_1_2_is_refused_where_the_configuration_says_1_3() {
    let stage = ServerDir::new();
    stage.configure("[tls]\nminimum_version = \"1.3\"");
    let server = stage.start();
    assert!(!handshake(&server, "-tls1_2").is_success());
    assert!(handshake(&server, "-tls1_3 -verify_return_error").is_success());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn http_2_and_1_1_are_agreed_on_in_the_handshake() {
    let stage = ServerDir::new();
    let server = stage.start();
    for (offered, agreed) in [
        ("h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("h2,http/1.1", "ALPN protocol: h2"),
    ] {
        let output = handshake(&server, &format!("-alpn {offered}"));
        assert!(output.stdout.contains(agreed), "{offered}: {output}");
    }
    assert!(handshake(&server, "").stdout.contains("No ALPN negotiated"));
    // RFC 7301, section 3.2: no common protocol is fatal.
    assert!(!handshake(&server, "-alpn spdy/3").is_success());
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_certificates_that_are_made_pass_the_strictest_check_and_name_every_host() {
    let stage = ServerDir::new();
    let server = stage.start();
    let folder = stage.path("certs");
    for name in
        ["-verify_hostname localhost", "-verify_hostname registry.test", "-verify_ip 127.0.0.1", "-verify_ip ::1"]
    {
        let output =
            openssl(&folder, &format!("verify -x509_strict -purpose sslserver {name} -CAfile ca.crt server.crt"));
        assert!(output.is_success(), "{name}: {output}");
    }
    assert!(!openssl(&folder, "verify -x509_strict -verify_hostname evil.test -CAfile ca.crt server.crt").is_success());
    let text = openssl(&folder, "x509 -in server.crt -noout -text").stdout;
    for words in [
        "DNS:localhost, DNS:registry.test, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1",
        "TLS Web Server Authentication",
        "X509v3 Authority Key Identifier",
        "prime256v1",
        "Digital Signature",
        "CA:FALSE",
    ] {
        assert!(text.contains(words), "{words}:\n{text}");
    }
    let authority = openssl(&folder, "x509 -in ca.crt -noout -text").stdout;
    assert!(authority.contains("CA:TRUE") && authority.contains("Certificate Sign"), "{authority}");
    assert!(
        openssl(&folder, &format!("x509 -in server.crt -noout -checkend {}", 825 * 24 * 3600))
            .stdout
            .contains("will expire")
    );
    server.assert_serving();
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn what_is_no_handshake_is_let_go_and_harms_nobody() {
    use std::io::{Read as _, Write as _};
    let stage = ServerDir::new();
    stage.configure("[limits]\nhandshake_timeout = \"1s\"");
    let server = stage.start();
    let mut sockets = Vec::new();
    for bytes in [
        b"\x16\x03\x01\xff\xff".as_slice(),
        b"\x16\x03\x01\x00\x05hello",
        b"\x16\x03\x01\x00\x00",
        &[0x16; 5000],
        &[0x80, 0x2e, 1, 3, 1],
        &[0; 300],
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"SSH-2.0-OpenSSH\r\n",
        b"",
    ] {
        let mut socket = std::net::TcpStream::connect(stage.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = socket.write_all(bytes);
        sockets.push(socket);
    }
    server.assert_serving();
    for mut socket in sockets {
        let ended = socket.read_to_end(&mut Vec::new());
        let is_open = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_open, "the handshake may take one second");
    }
    let plain = ToolCommand::new("curl").args(["-s", "-i", &format!("http://{}/v2/", stage.address())]).run_ok();
    assert!(plain.stdout.starts_with("HTTP/1.1 400 ") && plain.stdout.contains("\"errors\""), "{plain}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_name_that_the_certificate_lacks_is_told_once_with_what_to_do() {
    let stage = ServerDir::new();
    let server = stage.start();
    for _ in 0..3 {
        handshake(&server, "-servername by-handshake.test");
        let mut wire = server.connect();
        wire.send(b"GET /v2/ HTTP/1.1\r\nHost: by-header.test:5000\r\n\r\n");
        wire.response_to("GET").expect(401);
    }
    server.assert_serving();
    for name in ["by-handshake.test", "by-header.test"] {
        server.assert_log_contains(&format!("add {name} to hostnames"));
        assert_eq!(server.log().matches(&format!("name={name}")).count(), 1, "{}", server.log());
    }
    assert!(!server.log().contains("name=localhost"), "{}", server.log());
}

/// Makes a key with these options of `openssl`, and a certificate for `localhost` with it.
fn make_pair(stage: &ServerDir, key: &str, extra: &str) {
    for command in key.split(" && ") {
        let made = openssl(stage.folder(), command);
        assert!(made.is_success(), "{made}");
    }
    let options =
        "-addext subjectAltName=DNS:localhost -addext extendedKeyUsage=serverAuth -addext basicConstraints=CA:FALSE";
    let made = openssl(
        stage.folder(),
        &format!("req -new -x509 -key own.key -subj /CN=localhost -out own.crt {options} {extra}"),
    );
    assert!(made.is_success(), "{made}");
}

fn flags() -> [&'static str; 4] {
    ["--tls-cert", "own.crt", "--tls-key", "own.key"]
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn keys_that_openssl_makes_in_every_form_are_served_and_nothing_is_generated() {
    for key in [
        "genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out own.key",
        "genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-384 -out own.key",
        "genpkey -algorithm ed25519 -out own.key",
        "genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out own.key",
        "ecparam -name prime256v1 -genkey -out own.key",
        "ecparam -name prime256v1 -genkey -noout -out own.key",
        "genrsa -traditional -out own.key 2048",
    ] {
        let stage = ServerDir::new();
        make_pair(&stage, key, "-days 30");
        let mut command = stage.command();
        command.args(flags());
        let server = stage.start_as(command);
        let mut wire = WireConnection::open(stage.address(), &stage.path("own.crt"))
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        wire.send(&crate::support::wire_connection::request("GET", "/v2/", &[], b""));
        wire.response_to("GET").expect_registry_error(401, "UNAUTHORIZED");
        for made in ["certs/ca.crt", "certs/ca.key", "certs/server.crt", "certs/server.key"] {
            assert!(!stage.path(made).exists(), "{key}: {made} should not have been made");
        }
        assert!(!server.log().contains("certs.d"), "there is no CA of ours to trust:\n{}", server.log());
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_certificate_that_clients_would_refuse_is_refused_at_start_with_the_reason() {
    const KEY: &str = "genpkey -algorithm ec -pkeyopt ec_paramgen_curve:P-256 -out own.key";
    let refused = |change: &dyn Fn(&ServerDir), words: &str| {
        let stage = ServerDir::new();
        make_pair(&stage, KEY, "-days 30");
        change(&stage);
        for command in ["serve", "check"] {
            // `check` reads the configuration and has no flags for certificates.
            stage.configure("[tls.files]\ncertificate = \"own.crt\"\nkey = \"own.key\"");
            let refused = stage.portcullis_command().arg(command).run_failing();
            assert!(refused.stderr.contains(words) && refused.stderr.contains("hint: "), "{words}: {refused}");
            assert!(refused.to_string().contains("exit status: 1"), "{refused}");
        }
    };
    let remake = |stage: &ServerDir, options: &str| {
        let made =
            openssl(stage.folder(), &format!("req -new -x509 -key own.key -subj /CN=localhost -out own.crt {options}"));
        assert!(made.is_success(), "{made}");
    };
    refused(&|stage| remake(stage, "-days 30"), "names no host");
    refused(&|stage| remake(stage, "-addext subjectAltName=email:a@b.test -days 30"), "names no host");
    refused(&|stage| make_expiring(stage, 2020), "expired on 2020-02-01");
    refused(&|stage| make_expiring(stage, 2099), "not valid before 2099-01-01");
    let client = "-addext subjectAltName=DNS:localhost -addext extendedKeyUsage=clientAuth -days 30";
    refused(&|stage| remake(stage, client), "not meant for servers");
    refused(&|stage| assert!(openssl(stage.folder(), KEY).is_success()), "does not belong to the certificate");
    refused(
        &|stage| assert!(openssl(stage.folder(), "genrsa -out own.key 2048").is_success()),
        "does not belong to the certificate",
    );
    refused(&|stage| swap(&stage.path("own.crt"), &stage.path("own.key")), "no certificate in this file");
    refused(&|stage| fs::remove_file(stage.path("own.key")).unwrap(), "own.key: No such file");
    refused(&|stage| drop(stage.write("own.crt", "")), "no certificate in this file");
    refused(&|stage| drop(stage.write("own.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n")), "own.key");
    let encrypted = "ec -in own.key -aes256 -passout pass:secret -out own.key";
    refused(&|stage| assert!(openssl(stage.folder(), encrypted).is_success()), "encrypted with a passphrase");
}

/// Makes a certificate for the January of a year, which Debian's `openssl` cannot in one command.
fn make_expiring(stage: &ServerDir, year: i32) {
    let key = rcgen::KeyPair::from_pem(&fs::read_to_string(stage.path("own.key")).unwrap()).unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(year, 1, 1);
    params.not_after = rcgen::date_time_ymd(year, 2, 1);
    stage.write("own.crt", &params.self_signed(&key).unwrap().pem());
}

fn swap(one: &PathBuf, other: &PathBuf) {
    let (first, second) = (fs::read(one).unwrap(), fs::read(other).unwrap());
    fs::write(one, second).unwrap();
    fs::write(other, first).unwrap();
}

#[test]
fn half_a_pair_of_flags_is_refused() {
    let stage = ServerDir::new();
    stage
        .portcullis_command()
        .args(["serve", "--tls-cert", "own.crt"])
        .run_failing()
        .assert_prints_one_of(&["--tls-key"]);
    stage
        .portcullis_command()
        .args(["serve", "--tls-key", "own.key"])
        .run_failing()
        .assert_prints_one_of(&["--tls-cert"]);
}

#[test]
fn half_a_folder_of_certificates_is_refused_rather_than_replaced() {
    for missing in ["certs/ca.key", "certs/ca.crt", "certs/server.key", "certs/server.crt"] {
        let stage = ServerDir::new();
        drop(stage.start());
        let authority = fs::read(stage.path("certs/ca.crt")).unwrap();
        fs::remove_file(stage.path(missing)).unwrap();
        let mut daemon = crate::support::daemon::Daemon::start(stage.command(), stage.path("log"));
        let mut ended = None;
        assert!(eventually(Duration::from_secs(60), || {
            ended = daemon.exit_status();
            ended.is_some() || daemon.log().contains("serving")
        }));
        let kept = fs::read(stage.path("certs/ca.crt")).ok();
        assert!(kept.is_none_or(|kept| kept == authority), "{missing}: clients trust the authority that is there");
        if missing == "certs/ca.crt" {
            assert_eq!(ended.and_then(|status| status.code()), Some(1), "{missing}:\n{}", daemon.log());
        }
        if ended.is_some() {
            assert!(
                daemon.log().contains("error: ") && daemon.log().contains("hint: "),
                "{missing}:\n{}",
                daemon.log()
            );
        }
    }
}
