//! Compares PEM parsing with OpenSSL and nginx: the same certificates in the same order, or an error that names the
//! line.
//!
//! Thousands of files that differ from a valid one by a few random changes are loaded by OpenSSL, with the calls that
//! nginx makes, and by this crate. `PEM_FILES=100000 PEM_SEED=7 cargo test --test it pem::` tries more of them.

mod fixtures;
mod mutation;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use portcullis::tls;

use crate::support::ToolCommand;
use fixtures::{PemFixtures, spellings};
use mutation::XorShift;

/// What OpenSSL loads from each file, or its error.
fn openssl(word: &str, files: &[PathBuf]) -> Vec<Result<Vec<String>, String>> {
    let mut asked = String::new();
    for file in files {
        writeln!(asked, "{word} {}", file.display()).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/pem/openssl.py");
    let output = ToolCommand::new("python3").arg(script).input(&asked).deadline(Duration::from_secs(600)).run_ok();
    let answers: Vec<_> = output.stdout.lines().map(answer).collect();
    assert_eq!(answers.len(), files.len(), "{output}");
    answers
}

fn answer(line: &str) -> Result<Vec<String>, String> {
    line.strip_prefix("error ")
        .map_or_else(|| Ok(line.split(' ').map(str::to_owned).collect()), |reason| Err(reason.to_owned()))
}

/// What this crate loads from a file, or its error.
fn ours(file: &Path) -> Result<Vec<String>, String> {
    let chain = tls::read_chain(file).map_err(|error| error.to_string())?;
    Ok(chain.fingerprints().map(|found| found.to_string().replace(':', "").to_lowercase()).collect())
}

/// Whether an error names a line of this file.
fn names_a_line(file: &Path, error: &str) -> bool {
    let lines = fs::read(file).unwrap().split(|byte| *byte == b'\n').count();
    let named = error.strip_prefix(&format!("{}: line ", file.display())).and_then(|rest| rest.split_once(':'));
    named.is_some_and(|(number, _)| number.parse::<usize>().is_ok_and(|number| (1..=lines).contains(&number)))
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn what_openssl_loads_of_a_file_with_random_changes_is_loaded_alike_or_the_line_is_named() {
    let (count, seed) = (number("PEM_FILES", 4000), number("PEM_SEED", 1));
    let folder = tempfile::tempdir().unwrap();
    let material = PemFixtures::new();
    let mut chance = XorShift::new(seed);
    let files: Vec<PathBuf> = (0..count)
        .map(|index| {
            let file = folder.path().join(format!("{index}.pem"));
            fs::write(&file, mutation::changed(&material, &mut chance)).unwrap();
            file
        })
        .collect();
    let (mut alike, mut named, mut refused) = (0, 0, 0);
    for (file, theirs) in files.iter().zip(openssl("chain", &files)) {
        let shown = || String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        match (theirs, ours(file)) {
            (Ok(theirs), Ok(ours)) => {
                assert_eq!(ours, theirs, "PEM_SEED={seed}: another chain of\n{}", shown());
                alike += 1;
            }
            (Ok(_), Err(error)) => {
                assert!(names_a_line(file, &error), "PEM_SEED={seed}: {error} of\n{}", shown());
                named += 1;
            }
            // The PEM is valid; OpenSSL objects to a byte of the certificate that this crate does not parse at this
            // point.
            (Err(reason), Ok(_)) if reason == "ASN1 lib" => refused += 1,
            (Err(reason), Ok(_)) => {
                panic!("PEM_SEED={seed}: OpenSSL reports {reason}, and this crate no error, for\n{}", shown())
            }
            (Err(_), Err(_)) => refused += 1,
        }
    }
    assert!(alike > count / 8 && named > 0 && refused > 0, "{alike} alike, {named} named, {refused} refused");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn every_spelling_that_nginx_takes_is_taken_and_what_it_skips_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let material = PemFixtures::new();
    let key = folder.path().join("server.key");
    fs::write(&key, &material.key).unwrap();
    for (name, text, expected) in spellings(&material) {
        let file = folder.path().join("chain.pem");
        fs::write(&file, &text).unwrap();
        let theirs = openssl("chain", std::slice::from_ref(&file)).remove(0);
        assert_eq!(
            nginx_loads(folder.path(), &file, &key),
            theirs.is_ok(),
            "nginx and its calls disagree about {name}"
        );
        let ours = ours(&file);
        match expected {
            Ok(length) => {
                assert_eq!(theirs.as_ref().map(Vec::len), Ok(length), "{name}");
                assert_eq!(ours, theirs, "{name}");
                // Loads the file together with the key, as the server does.
                tls::load_files(&file, &key, SystemTime::now()).unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            Err(line) => {
                let error = ours.expect_err(name);
                assert!(error.contains(&format!("chain.pem: line {line}: ")), "{name}: {error}");
            }
        }
    }
}

/// Whether the real nginx loads the file as a server certificate.
fn nginx_loads(folder: &Path, certificate: &Path, key: &Path) -> bool {
    let text = format!(
        "events {{}}\nhttp {{ access_log off; server {{ listen 127.0.0.1:1 ssl; ssl_certificate {}; ssl_certificate_key {}; }} }}\n",
        certificate.display(),
        key.display()
    );
    let file = folder.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let pid = format!("pid {}/nginx.pid;", folder.display());
    let output = ToolCommand::new("nginx")
        .arg("-t")
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(file)
        .args(["-e", "stderr", "-g", &pid])
        .run();
    assert!(output.is_success() || output.stderr.contains("cannot load certificate"), "{output}");
    output.is_success()
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_key_that_openssl_reads_is_read_and_one_with_a_passphrase_is_named_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let material = PemFixtures::new();
    let chain = folder.path().join("chain.pem");
    fs::write(&chain, format!("{}{}", material.leaf, material.middle)).unwrap();
    for (name, text, expected) in fixtures::keys(&material) {
        let file = folder.path().join("server.key");
        fs::write(&file, &text).unwrap();
        let theirs = openssl("key", std::slice::from_ref(&file)).remove(0);
        let ours = tls::load_files(&chain, &file, SystemTime::now());
        match expected {
            Ok(()) => {
                assert!(theirs.is_ok(), "{name}: {theirs:?}");
                ours.unwrap_or_else(|error| panic!("{name}: {error}"));
            }
            Err(words) => {
                assert!(theirs.is_err(), "{name}");
                let error = ours.expect_err(name).to_string();
                assert!(error.contains(words), "{name}: {error}");
            }
        }
    }
}
