//! Makes the certificates and keys of the PEM tests, and writes them in all spellings of PEM files.

use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::support::ToolCommand;

/// The certificates of a server, its intermediate and another authority, and the server's key; all in PEM with final
/// newlines.
pub(super) struct PemFixtures {
    pub(super) leaf: String,
    /// The server's certificate in a `TRUSTED CERTIFICATE` block, with trust settings.
    pub(super) trusted: String,
    pub(super) middle: String,
    pub(super) trusted_middle: String,
    pub(super) other: String,
    pub(super) key: String,
}

impl PemFixtures {
    pub(super) fn new() -> Self {
        let now = SystemTime::now();
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.not_before = (now - Duration::from_secs(3600)).into();
            params.not_after = (now + Duration::from_secs(90 * 24 * 3600)).into();
            params
        };
        let authority = |name: &str| {
            let mut params = params(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            (params, KeyPair::generate().unwrap())
        };
        let (middle, middle_key) = authority("An intermediate");
        let (other, other_key) = authority("Another authority");
        let (root, root_key) = authority("A root");
        let mut leaf = params("localhost");
        leaf.subject_alt_names = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().subject_alt_names;
        let key = KeyPair::generate().unwrap();
        let leaf = unix(&leaf.signed_by(&key, &Issuer::from_params(&middle, &middle_key)).unwrap().pem());
        let middle = unix(&middle.signed_by(&middle_key, &Issuer::from_params(&root, &root_key)).unwrap().pem());
        Self {
            trusted: trusted(&leaf),
            trusted_middle: trusted(&middle),
            leaf,
            middle,
            other: unix(&other.self_signed(&other_key).unwrap().pem()),
            key: unix(&key.serialize_pem()),
        }
    }
}

fn unix(pem: &str) -> String {
    pem.replace("\r\n", "\n")
}

fn trusted(pem: &str) -> String {
    let options =
        ["x509", "-trustout", "-addtrust", "serverAuth", "-addreject", "emailProtection", "-setalias", "an alias"];
    ToolCommand::new("openssl").args(options).input(pem).run_ok().stdout
}

/// The lines between the first and the last.
fn inside(pem: &str) -> String {
    let lines: Vec<&str> = pem.lines().collect();
    lines[1..lines.len() - 1].concat()
}

/// Wraps the base64 of a block at another line length.
fn in_lines_of(length: usize, pem: &str) -> String {
    let (first, last) = (pem.lines().next().unwrap(), pem.lines().last().unwrap());
    let text = inside(pem);
    let lines: Vec<&str> = text.as_bytes().chunks(length).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("{first}\n{}\n{last}\n", lines.join("\n"))
}

/// File contents with a name, and the number of certificates in them, or the line of something that would be skipped
/// or is damaged.
pub(super) fn spellings(material: &PemFixtures) -> Vec<(&'static str, String, Result<usize, usize>)> {
    let PemFixtures { leaf, trusted, middle, trusted_middle, key, .. } = material;
    let lines = leaf.lines().count();
    let (next, good) = (lines + 1, format!("{leaf}{middle}"));
    let header = |text: &str| leaf.replacen("-----\n", &format!("-----\n{text}\n\n"), 1);
    let of_kind = |label: &str| middle.replace("CERTIFICATE", label);
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    let indented = |pem: &str| format!("  {}\n", pem.trim_end().replace('\n', "\n  "));
    vec![
        ("as usual", good.clone(), Ok(2)),
        (
            "text around",
            format!("Bag Attributes: 01 02\n{leaf}\nsubject=/CN=x\n--- next ---\n{middle}the end\n"),
            Ok(2),
        ),
        ("carriage returns", good.replace('\n', "\r\n"), Ok(2)),
        ("blanks at the end of lines", good.replace('\n', " \t \n"), Ok(2)),
        ("other blanks at the end of lines", good.replace('\n', "\u{a0}\n"), Ok(2)),
        ("blanks before base64", good.replace("\nM", "\n  M"), Ok(2)),
        ("no newline at the end", good.trim_end().to_owned(), Ok(2)),
        ("a byte order mark", format!("\u{feff}{good}"), Ok(2)),
        ("byte order marks of two files", format!("\u{feff}{leaf}\u{feff}{middle}"), Ok(2)),
        ("an older label", good.replace("CERTIFICATE", "X509 CERTIFICATE"), Ok(2)),
        ("a trusted certificate", format!("{trusted}{middle}"), Ok(2)),
        ("base64 in one line", format!("{}{middle}", in_lines_of(100_000, leaf)), Ok(2)),
        ("base64 in long lines", format!("{}{middle}", in_lines_of(76, leaf)), Ok(2)),
        ("base64 in short lines", format!("{}{middle}", in_lines_of(7, leaf)), Ok(2)),
        ("a blank line before the base64", header("").replace("\n\n\n", "\n\n") + middle, Ok(2)),
        ("the key first", format!("{key}{good}"), Ok(2)),
        ("the key between", format!("{leaf}{key}{middle}"), Ok(2)),
        ("the key last, with parameters", format!("{good}{parameters}{key}"), Ok(2)),
        ("one certificate", leaf.clone(), Ok(1)),
        ("a trusted certificate as the second", format!("{leaf}{trusted_middle}"), Err(next)),
        ("a second certificate that is indented", format!("{leaf}{}", indented(middle)), Err(next)),
        ("a second certificate that is commented out", format!("{leaf}# {middle}"), Err(next)),
        ("a boundary with four dashes", format!("{leaf}{}", middle.replacen("-----", "----", 1)), Err(next)),
        ("a boundary in lower case", format!("{leaf}{}", of_kind("certificate")), Err(next)),
        ("a label that is misspelt", format!("{leaf}{}", of_kind("CERTIFCATE")), Err(next)),
        ("a block of PKCS #7", format!("{leaf}{}", of_kind("PKCS7")), Err(next)),
        ("no first line", format!("{leaf}{}", middle.split_once('\n').unwrap().1), Err(next)),
        ("no last line of the first", leaf.replace("-----END CERTIFICATE-----\n", "") + middle, Err(lines)),
        ("a dash within the base64", leaf.replace("\n-----END", "\n-\n-----END") + middle, Err(lines)),
        ("two certificates in one block", two_in_one(material), Err(next)),
        ("a header", header("Comment: none") + middle, Err(1)),
        ("NUL bytes", format!("{leaf}\0\n{middle}"), Err(next)),
        ("a certificate that is cut off", format!("{leaf}{}", middle[..200].to_owned()), Err(next)),
    ]
}

/// Two concatenated certificates in the base64 of a single block.
fn two_in_one(material: &PemFixtures) -> String {
    let decode = |pem: &str| {
        let mut der = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut der, pem.as_bytes()).unwrap();
        let out = tempfile::NamedTempFile::new().unwrap();
        ToolCommand::new("openssl")
            .args(["x509", "-outform", "der", "-in"])
            .arg(der.path())
            .arg("-out")
            .arg(out.path())
            .run_ok();
        std::fs::read(out.path()).unwrap()
    };
    let both = [decode(&material.middle), decode(&material.other)].concat();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), both).unwrap();
    let base64 = ToolCommand::new("openssl").args(["base64", "-in"]).arg(file.path()).run_ok().stdout;
    format!("{}-----BEGIN CERTIFICATE-----\n{base64}-----END CERTIFICATE-----\n", material.leaf)
}

/// Contents of key files with a name; `Err` with a part of the error message if the key is not usable.
pub(super) fn keys(material: &PemFixtures) -> Vec<(&'static str, String, Result<(), &'static str>)> {
    let PemFixtures { leaf, middle, key, .. } = material;
    let openssl = |arguments: &str| ToolCommand::new("openssl").args(arguments.split(' ')).input(key).run_ok().stdout;
    let old = openssl("pkey -traditional");
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
    vec![
        ("PKCS #8", key.clone(), Ok(())),
        ("SEC 1", old.clone(), Ok(())),
        ("SEC 1 after its parameters", format!("{parameters}{old}"), Ok(())),
        ("PKCS #8 with the label of an older form", key.replace("PRIVATE KEY", "EC PRIVATE KEY"), Ok(())),
        ("after text", format!("Bag Attributes\n    friendlyName: x\n# comment\n{key}"), Ok(())),
        ("after a byte order mark", format!("\u{feff}{key}"), Ok(())),
        ("after the chain", format!("{leaf}{middle}{key}"), Ok(())),
        ("with carriage returns", key.replace('\n', "\r\n"), Ok(())),
        ("with blanks", key.replace('\n', "  \n").replace("\nM", "\n M"), Ok(())),
        ("in long lines", in_lines_of(1000, key), Ok(())),
        ("in short lines", in_lines_of(5, key), Ok(())),
        ("without a newline at the end", key.trim_end().to_owned(), Ok(())),
        (
            "PKCS #8 with a passphrase",
            format!("a comment\n{}", openssl("pkcs8 -topk8 -passout pass:secret")),
            Err("server.key: line 2: the private key is encrypted with a passphrase"),
        ),
        (
            "SEC 1 with a passphrase",
            openssl("ec -aes256 -passout pass:secret"),
            Err("server.key: line 1: the private key is encrypted with a passphrase"),
        ),
        ("cut off", key[..80].to_owned(), Err("server.key: line 1: the block has no -----END PRIVATE KEY-----")),
        ("indented", format!(" {}\n", key.trim_end().replace('\n', "\n ")), Err("server.key: line 1: ")),
    ]
}
