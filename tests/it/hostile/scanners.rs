//! Runs testssl.sh and sslyze against the server; both must find nothing to complain about.
//!
//! The server has a certificate as an operator might bring one: from a private CA that the scanners trust, for names
//! of this machine. Neither scanner needs a network, and neither gets one.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::{PortcullisServer, ServerDir, ToolCommand};

/// Findings of testssl.sh that a private CA on a machine without a network cannot avoid.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("engine_problem", "WARN", "about the openssl of the machine that runs the scan: it has no GOST"),
    ("cert_revocation", "HIGH", "a private CA publishes neither a CRL nor an OCSP responder"),
    // A warning means that it could not decide; `session` tests whether sessions are resumed.
    ("sessionresumption_ticket", "WARN", "its client may hang up before the ticket has arrived"),
];

/// A server with a certificate of a private CA of the test, which is in `authority.crt`.
fn serve(stage: &ServerDir) -> PortcullisServer {
    let openssl = |arguments: &str| {
        ToolCommand::new("openssl").folder(stage.folder()).args(arguments.split_whitespace()).run_ok();
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -keyout authority.key -out authority.crt -subj /CN=Authority -days 90 \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign"
    ));
    openssl(&format!("req -new {key} -keyout own.key -out own.csr -subj /CN=localhost"));
    stage.write(
        "extensions",
        "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\nbasicConstraints=critical,CA:FALSE\n\
         keyUsage=critical,digitalSignature\nauthorityKeyIdentifier=keyid\n",
    );
    openssl(
        "x509 -req -in own.csr -CA authority.crt -CAkey authority.key -CAcreateserial -days 80 -extfile extensions \
         -out own.crt",
    );
    stage.configure("[tls.files]\ncertificate = \"own.crt\"\nkey = \"own.key\"");
    stage.start()
}

fn document(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn testssl_finds_nothing_worse_than_ok() {
    let stage = ServerDir::new();
    let server = serve(&stage);
    let scan = ToolCommand::new("testssl")
        .folder(stage.folder())
        .args(["--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", "127.0.0.1"])
        .args(["--add-ca", "authority.crt", "--jsonfile", "found.json"])
        // All checks but the rating of each cipher suite, which only repeats other results and takes a minute.
        .args(["--protocols", "--std", "--fs", "--server-preference", "--server-defaults", "--headers", "--vulnerable"])
        .arg(format!("https://localhost:{}/", stage.port()))
        // Other tests run at the same time.
        .deadline(Duration::from_secs(600))
        .run();
    let findings = document(&stage.path("found.json"));
    let findings = findings.as_array().unwrap();
    let said =
        |id: &str| findings.iter().find(|finding| finding["id"] == id).map(|finding| finding["severity"].clone());
    // Each chapter must have results at all.
    for id in [
        "SSLv3",
        "TLS1_3",
        "cipherlist_STRONG",
        "PFS",
        "cipher_order",
        "cert_chain_of_trust",
        "HSTS_time",
        "heartbleed",
        "secure_client_renego",
        "BREACH",
    ] {
        assert!(said(id).is_some_and(|severity| severity == "OK"), "{id}: {:?}\n{scan}", said(id));
    }
    let harmless = ["OK", "INFO"];
    let is_bad = |finding: &&Value| !harmless.contains(&finding["severity"].as_str().unwrap());
    let is_excepted = |finding: &Value| {
        EXCEPTIONS.iter().any(|(id, severity, _)| finding["id"] == *id && finding["severity"] == *severity)
    };
    let bad: Vec<&Value> = findings.iter().filter(is_bad).filter(|finding| !is_excepted(finding)).collect();
    assert!(bad.is_empty(), "{bad:#?}\n{scan}");
    server.assert_serving_with_ca(&stage.path("authority.crt"));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn sslyze_finds_what_mozilla_recommends() {
    let stage = ServerDir::new();
    let server = serve(&stage);
    let scan = ToolCommand::new("sslyze")
        .folder(stage.folder())
        .args(["--mozilla_config", "intermediate", "--certinfo_ca_file", "authority.crt", "--json_out", "found.json"])
        .args(["--early_data", "--resum"])
        .arg(format!("localhost:{}", stage.port()))
        .deadline(Duration::from_secs(300))
        // The exit code says whether the server complies.
        .run_ok();
    assert!(scan.stdout.contains("OK - Compliant"), "{scan}");
    let result = &document(&stage.path("found.json"))["server_scan_results"][0]["scan_result"];
    let accepted = |version: &str| result[version]["result"]["accepted_cipher_suites"].as_array().unwrap().len();
    for (version, suites) in [
        ("ssl_2_0_cipher_suites", 0),
        ("ssl_3_0_cipher_suites", 0),
        ("tls_1_0_cipher_suites", 0),
        ("tls_1_1_cipher_suites", 0),
        ("tls_1_2_cipher_suites", 3),
        ("tls_1_3_cipher_suites", 3),
    ] {
        assert_eq!(accepted(version), suites, "{version}: {scan}");
    }
    for (check, verdict, expected) in [
        ("tls_compression", "supports_compression", false),
        ("tls_1_3_early_data", "supports_early_data", false),
        ("tls_fallback_scsv", "supports_fallback_scsv", true),
        ("heartbleed", "is_vulnerable_to_heartbleed", false),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", false),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", false),
        ("session_renegotiation", "supports_secure_renegotiation", true),
        ("tls_extended_master_secret", "supports_ems_extension", true),
    ] {
        assert_eq!(result[check]["result"][verdict], expected, "{check}: {scan}");
    }
    server.assert_serving_with_ca(&stage.path("authority.crt"));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn browsers_are_told_to_keep_to_https_only_where_the_operator_brought_the_certificate() {
    const HEADER: &str = "strict-transport-security";
    let stage = ServerDir::new();
    let own = stage.start();
    assert_eq!(own.request("GET", "/v2/", &[], b"").header(HEADER), None, "a CA of our own may be made anew");
    drop(own);
    let brought = serve(&stage);
    for path in ["/v2/", "/healthz", "/nowhere"] {
        let answer = brought.get_with_ca(&stage.path("authority.crt"), path);
        assert_eq!(answer.header(HEADER), Some("max-age=31536000"), "{path}: {answer}");
    }
}
