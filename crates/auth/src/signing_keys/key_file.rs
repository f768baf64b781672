//! Parses and writes the key file: private keys in PEM, the first of which signs.
//!
//! The line before an older key gives the time at which its tokens become invalid. It is explanatory text between PEM
//! blocks (RFC 7468 section 2), which every other program ignores:
//!
//! ```text
//! -----BEGIN PRIVATE KEY-----
//! …
//! -----END PRIVATE KEY-----
//! Retires: 2026-11-22T06:37:43Z
//! -----BEGIN PRIVATE KEY-----
//! …
//! -----END PRIVATE KEY-----
//! ```
//!
//! Invariant: a file with a block or a date that cannot be parsed is rejected. Ignoring a key would invalidate its
//! tokens, and ignoring a date would keep tokens valid.

use std::{fmt::Write as _, time::SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

const RETIRES_PREFIX: &str = "Retires:";
const PEM_LABEL: &str = "PRIVATE KEY";

/// One private key of the file.
pub(super) struct PrivateKeyBlock {
    pub(super) pkcs8: Zeroizing<Vec<u8>>,
    pub(super) retires_at: Option<SystemTime>,
    /// The line of its `BEGIN`, counted from 1.
    pub(super) line: usize,
}

/// A problem of the key file and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyFileProblem {
    /// Counted from 1.
    pub line: usize,
    /// The kind of problem.
    pub fault: KeyFileFault,
}

/// Parses the whole file: at least one key.
pub(super) fn parse(text: &str) -> Result<Vec<PrivateKeyBlock>, KeyFileProblem> {
    let mut lines = text.lines().map(str::trim).enumerate().map(|(index, line)| (index + 1, line));
    let mut blocks = Vec::new();
    let mut retires = None;
    while let Some((line, words)) = lines.next() {
        let problem = |fault| KeyFileProblem { line, fault };
        if let Some(label) = pem_label(words, "-----BEGIN ") {
            let content = (&mut lines).map(|(_, words)| words);
            let pkcs8 = decode_block(label, content).map_err(problem)?;
            let retires = retires.take().map(|(_, time)| time);
            if blocks.is_empty() && retires.is_some() {
                return Err(problem(KeyFileFault::SignerRetires));
            }
            blocks.push(PrivateKeyBlock { pkcs8, retires_at: retires, line });
        } else if let Some(time) = retires_value(words) {
            let time = OffsetDateTime::parse(time.trim(), &Rfc3339).map_err(|_| problem(KeyFileFault::BadDate))?;
            if retires.replace((line, time.into())).is_some() {
                return Err(problem(KeyFileFault::StrayDate));
            }
        }
    }
    if let Some((line, _)) = retires {
        return Err(KeyFileProblem { line, fault: KeyFileFault::StrayDate });
    }
    if blocks.is_empty() { Err(KeyFileProblem { line: 1, fault: KeyFileFault::NoKey }) } else { Ok(blocks) }
}

/// Renders the content of the file.
pub(super) fn render(blocks: &[PrivateKeyBlock]) -> Zeroizing<String> {
    let length: usize = blocks.iter().map(|block| 200 + block.pkcs8.len() * 2).sum();
    let mut text = Zeroizing::new(String::with_capacity(length));
    for PrivateKeyBlock { pkcs8, retires_at: retires, .. } in blocks {
        // Writing to a String cannot fail.
        if let Some(retires) = retires {
            let _ = writeln!(text, "{RETIRES_PREFIX} {}", format_utc(*retires));
        }
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(pkcs8));
        let _ = writeln!(text, "-----BEGIN {PEM_LABEL}-----");
        for line in encoded.as_bytes().chunks(64) {
            let _ = writeln!(text, "{}", str::from_utf8(line).unwrap_or_default());
        }
        let _ = writeln!(text, "-----END {PEM_LABEL}-----");
    }
    text
}

/// A time in RFC 3339, in whole seconds: the form of a `Retires:` line and of listings.
#[must_use]
pub fn format_utc(time: SystemTime) -> String {
    let whole = OffsetDateTime::from(time).replace_nanosecond(0).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    whole.format(&Rfc3339).unwrap_or_default()
}

fn pem_label<'a>(line: &'a str, beginning: &str) -> Option<&'a str> {
    line.strip_prefix(beginning)?.strip_suffix("-----")
}

/// The rest of a line that begins with `Retires:`, in upper or lower case.
fn retires_value(line: &str) -> Option<&str> {
    let (word, time) = line.split_at_checked(RETIRES_PREFIX.len())?;
    word.eq_ignore_ascii_case(RETIRES_PREFIX).then_some(time)
}

fn decode_block<'a>(label: &str, lines: impl Iterator<Item = &'a str>) -> Result<Zeroizing<Vec<u8>>, KeyFileFault> {
    if label != PEM_LABEL {
        return Err(KeyFileFault::NotPkcs8);
    }
    let mut encoded = Zeroizing::new(String::with_capacity(8 << 10));
    for line in lines {
        if pem_label(line, "-----END ") == Some(label) {
            return BASE64_STANDARD.decode(encoded.as_bytes()).map(Zeroizing::new).map_err(|_| KeyFileFault::NotPem);
        }
        encoded.push_str(line);
    }
    Err(KeyFileFault::NotPem)
}

/// Why a file is not a valid key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileFault {
    /// The file has no PEM block.
    #[error("no private key in PEM found")]
    NoKey,
    /// A PEM block with another label.
    #[error("this is not an unencrypted private key in PKCS#8, which begins with `-----BEGIN PRIVATE KEY-----`")]
    NotPkcs8,
    /// A PEM block without an end line, or with content that is not base64.
    #[error("this PEM block is damaged")]
    NotPem,
    /// PKCS#8 with an unsupported key.
    #[error("this is not a private key for ECDSA with P-256, RSA or Ed25519")]
    Unusable,
    /// An RSA key that is too short to be secure.
    #[error("this RSA key has less than 2048 bits")]
    SmallRsa,
    /// A `Retires:` line without a valid RFC 3339 time.
    #[error("this is not a date and time as in `Retires: 2026-11-22T06:37:43Z`")]
    BadDate,
    /// A `Retires:` line without a key after it, or a second one for the same key.
    #[error("this `Retires:` line belongs to no key")]
    StrayDate,
    /// The first key has a `Retires:` line.
    #[error("the first key signs, and must not have a `Retires:` line")]
    SignerRetires,
}

impl KeyFileFault {
    /// How the operator can fix it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotPkcs8 => "convert it: openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW",
            Self::NoKey | Self::NotPem | Self::Unusable | Self::SmallRsa => {
                "put a valid key there, or move the file away: the next start makes a new one"
            }
            Self::BadDate | Self::StrayDate => "write one `Retires:` line before each key that is to retire",
            Self::SignerRetires => "remove the line, or let `portcullis token rotate` make the new first key",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn fault(text: &str) -> (usize, KeyFileFault) {
        let problem = parse(text).err().expect("a problem");
        (problem.line, problem.fault)
    }

    #[test]
    fn what_is_written_is_read_again() {
        let time = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let block =
            |byte, retires| PrivateKeyBlock { pkcs8: Zeroizing::new(vec![byte; 100]), retires_at: retires, line: 0 };
        let text = render(&[block(1, None), block(2, Some(time)), block(3, None)]);
        let read = parse(&text).unwrap_or_else(|problem| panic!("{problem:?}"));
        let summary: Vec<_> = read.iter().map(|block| (block.pkcs8[99], block.retires_at, block.line)).collect();
        assert_eq!(summary, [(1, None, 1), (2, Some(time), 7), (3, None, 12)]);
        assert!(text.lines().all(|line| line.len() <= 64), "{}", *text);
    }

    #[test]
    fn other_explanations_are_read_over_and_dates_in_any_case_are_not() {
        let text = "Bag Attributes\n    localKeyID: 01\n-----BEGIN PRIVATE KEY-----\r\nAAEC\r\n-----END PRIVATE KEY-----\r\n\n\
                    old\nRETIRES:   2026-11-22T07:37:43+01:00  \n\n-----BEGIN PRIVATE KEY-----\nAA\nEC\n-----END PRIVATE KEY-----";
        let read = parse(text).unwrap_or_else(|problem| panic!("{problem:?}"));
        assert_eq!(read.len(), 2);
        assert_eq!(*read[0].pkcs8, *read[1].pkcs8);
        assert_eq!(format_utc(read[1].retires_at.unwrap()), "2026-11-22T06:37:43Z");
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_line() {
        let key = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
        let date = "Retires: 2026-11-22T06:37:43Z\n";
        assert_eq!(fault(""), (1, KeyFileFault::NoKey));
        assert_eq!(fault("no key\n"), (1, KeyFileFault::NoKey));
        assert_eq!(fault(&format!("{date}{key}")), (2, KeyFileFault::SignerRetires));
        assert_eq!(fault(&format!("{key}{date}")), (4, KeyFileFault::StrayDate));
        assert_eq!(fault(&format!("{key}{date}{date}{key}")), (5, KeyFileFault::StrayDate));
        assert_eq!(fault(&format!("{key}Retires: tomorrow\n{key}")), (4, KeyFileFault::BadDate));
        assert_eq!(fault(&format!("{key}Retires:\n{key}")), (4, KeyFileFault::BadDate));
        assert_eq!(fault(&format!("{key}-----BEGIN PRIVATE KEY-----\nAAEC\n")), (4, KeyFileFault::NotPem));
        assert_eq!(fault(&format!("{key}-----BEGIN PRIVATE KEY-----\n{key}")), (4, KeyFileFault::NotPem));
        for label in ["RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE"] {
            assert_eq!(fault(&key.replace("PRIVATE KEY", label)), (1, KeyFileFault::NotPkcs8), "{label}");
        }
    }
}
