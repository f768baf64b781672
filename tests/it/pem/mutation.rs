//! Makes random changes to valid PEM files.

use super::fixtures::PemFixtures;

/// A pseudorandom generator with a fixed sequence for each seed (xorshift64*).
pub(super) struct XorShift(u64);

impl XorShift {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number % limit as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        things[self.below(things.len())]
    }
}

/// Lines that files contain besides certificates, and text that lines contain besides base64.
const LINES: [&str; 22] = [
    "",
    " ",
    "\t",
    "a comment",
    "name: value",
    "-----",
    "----------",
    "-",
    "--- a chain ---",
    "week-end of the back-end",
    "AAAA",
    "AA==",
    "=",
    "\u{feff}",
    "\u{e4}\u{f6}",
    "\0",
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----",
    "-----BEGIN TRUSTED CERTIFICATE-----",
    "-----END X509 CERTIFICATE-----",
    "-----BEGIN DH PARAMETERS-----",
    "Proc-Type: 4,ENCRYPTED",
];

const BYTES: &[u8] = b"\n\r \t\x0b\0-=:+/Aa0~\x80\xa0\xef\xbb\xbf";

/// A file with a few random changes.
pub(super) fn changed(material: &PemFixtures, chance: &mut XorShift) -> Vec<u8> {
    let mut text = file(material, chance).into_bytes();
    for _ in 0..=chance.below(2) {
        change(&mut text, chance);
    }
    text
}

/// A file of certificates, with other lines between them.
fn file(material: &PemFixtures, chance: &mut XorShift) -> String {
    let blocks = [
        &material.leaf,
        &material.middle,
        &material.middle,
        &material.other,
        &material.trusted,
        &material.trusted_middle,
        &material.key,
    ];
    let mut text = String::new();
    for _ in 0..=chance.below(4) {
        if chance.below(4) == 0 {
            text.push_str(chance.pick(&LINES[..10]));
            text.push('\n');
        }
        let block = chance.pick(&blocks);
        match chance.below(12) {
            0 => text.push_str(&block.replace("CERTIFICATE", "X509 CERTIFICATE")),
            1 => text.push_str(&block.replace('\n', "\r\n")),
            _ => text.push_str(block),
        }
    }
    text
}

fn change(text: &mut Vec<u8>, chance: &mut XorShift) {
    let at = chance.below(text.len() + 1);
    match chance.below(30) {
        0 => text.insert(at, chance.pick(BYTES)),
        1 if at < text.len() => drop(text.remove(at)),
        2 if at < text.len() => text[at] = chance.pick(BYTES),
        3 if at < text.len() => text[at] ^= 1 << chance.below(8),
        4 => text.truncate(text.len() - chance.below(text.len() / 4 + 1)),
        5 => {
            let end = (at + chance.below(100)).min(text.len());
            text.drain(at..end);
        }
        _ => change_lines(text, chance),
    }
}

fn change_lines(text: &mut Vec<u8>, chance: &mut XorShift) {
    let mut lines: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let at = chance.below(lines.len());
    match chance.below(16) {
        0 => drop(lines.remove(at)),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = chance.below(lines.len());
            lines.swap(at, other);
        }
        3 if at + 1 < lines.len() => {
            let next = lines.remove(at + 1);
            lines[at].extend(next);
        }
        4..=7 => {
            let half = chance.below(lines[at].len() + 1);
            let rest = lines[at].split_off(half);
            lines.insert(at + 1, rest);
        }
        8..=10 => lines[at].insert(0, chance.pick(b" \t \t#")),
        11..=13 => lines[at].push(chance.pick(b" \t\r \t\r#-")),
        14 => lines[at] = chance.pick(&LINES).as_bytes().to_vec(),
        _ => lines.insert(at, chance.pick(&LINES).as_bytes().to_vec()),
    }
    *text = lines.join(&b'\n');
}
