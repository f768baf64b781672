//! Tests PEM blocks in every accepted spelling, and text that looks like a damaged block.

use super::*;

fn read(text: &str) -> Result<Vec<(usize, String, Vec<u8>)>, PemDamage> {
    let mut blocks = Vec::new();
    for item in PemReader::new(text.as_bytes()) {
        match item? {
            PemItem::Block(block) => blocks.push((block.line, block.label, block.data)),
            PemItem::Skipped(damage) => return Err(damage),
        }
    }
    Ok(blocks)
}

fn damaged(text: &str) -> (usize, String) {
    let damage = read(text).unwrap_err();
    (damage.line, damage.reason)
}

const HELLO: &str = "-----BEGIN A-----\naGVsbG8g\nd29ybGQ=\n-----END A-----\n";

#[test]
fn every_spelling_that_openssl_reads_is_one_block_with_the_same_bytes() {
    for text in [
        HELLO.to_owned(),
        HELLO.trim_end().to_owned(),
        HELLO.replace('\n', "\r\n"),
        HELLO.replace('\n', " \t\n"),
        HELLO.replace('\n', "\u{a0}\n"),
        HELLO.replace("aGV", "  aGV").replace("sbG", " sb G"),
        HELLO.replace("g\nd", "gd"),
        HELLO.replace("GVs", "G\nV\ns"),
        HELLO.replace("g\nd", "gd").replace("aG", "\naG"),
        format!("\u{feff}{HELLO}"),
        format!("Bag Attributes\n  localKeyID: 01\n-- week-end --\n{HELLO}----------\n==========\n"),
        format!("sha256: {}\n{}\n{HELLO}", "0a".repeat(32), "0a".repeat(32)),
    ] {
        let blocks = read(&text).unwrap_or_else(|damage| panic!("{text:?}: {damage:?}"));
        assert_eq!(blocks.len(), 1, "{text:?}");
        assert_eq!((blocks[0].1.as_str(), blocks[0].2.as_slice()), ("A", &b"hello world"[..]), "{text:?}");
    }
    let long = HELLO.replace("g\nd29ybGQ=", &format!("g{}", "d29ybGQg".repeat(60)));
    assert_eq!(read(&long).unwrap()[0].2.len(), 6 + 60 * 6, "a line of any length");
    let marked = format!("{HELLO}\u{feff}{HELLO}");
    assert_eq!(read(&marked).unwrap().iter().map(|block| block.0).collect::<Vec<_>>(), [1, 5]);
}

#[test]
fn what_would_be_skipped_without_a_word_is_damage_with_its_line() {
    for (text, line) in [
        (format!("{HELLO} {HELLO}"), 5),
        (format!("{HELLO}# {HELLO}"), 5),
        (format!("{HELLO}-{HELLO}"), 5),
        (format!("{HELLO}{}", HELLO.replace("-----BEGIN", "----BEGIN")), 5),
        (format!("{HELLO}{}", HELLO.replace("BEGIN A-----", "BEGIN A----")), 5),
        (format!("{HELLO}{}", HELLO.replace("-----BEGIN A-----\n", "")), 7),
        (format!("{HELLO}\n{}", HELLO.replace("-----BEGIN A", "\u{2013}BEGIN CERTIFICATE")), 6),
        (format!("{HELLO}-----begin certificate-----\n"), 5),
        (format!("{HELLO}{}A\n", "aB3/".repeat(15)), 5),
        (format!("{HELLO}\n\0\n{HELLO}"), 6),
    ] {
        assert_eq!(damaged(&text).0, line, "{text:?}");
    }
}

#[test]
fn a_block_that_is_damaged_says_in_which_line() {
    for (text, line, reason) in [
        (HELLO.replace("-----END A-----\n", ""), 1, "has no -----END A-----"),
        (HELLO.replace("END A", "END B"), 4, "not the -----END A----- of the block that begins in line 1"),
        (HELLO.replace("END A-----", "END A----"), 4, "not the -----END A----- of"),
        (HELLO.replace("29y", "2*y"), 3, "not base64"),
        (HELLO.replace("Q=", "Q=="), 1, "not complete"),
        (HELLO.replace("G8g", "G8="), 3, "not base64"),
        (HELLO.replace("\nd", "\n\nd").replace("aG", "\naG"), 4, "a blank line within the block"),
        (HELLO.replace("aG", "\naG"), 4, "a line of base64 after a shorter one"),
        (HELLO.replace("Q=\n", "Q=\n-more\n"), 4, "where OpenSSL stops reading it"),
        (format!("{}{HELLO}", HELLO.replace("-----END A-----\n", "")), 4, "which has no -----END A-----"),
        (HELLO.replace("GVs", "G\0s"), 2, "NUL byte"),
        (HELLO.replace("\n-----END", "\n\n-----END"), 1, "this block is empty"),
    ] {
        let (found, said) = damaged(&text);
        assert!(found == line && said.contains(reason), "{text:?}: line {found}: {said}");
    }
}

#[test]
fn the_header_of_an_encrypted_key_is_no_part_of_its_bytes() {
    let text = HELLO
        .replace("A-----\na", "A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\na")
        .replace("\nd29", "d29");
    let Some(Ok(PemItem::Block(block))) = PemReader::new(text.as_bytes()).next() else { panic!("{text}") };
    assert!(block.header.starts_with("Proc-Type: 4,ENCRYPTED\n") && block.data == b"hello world");
}
