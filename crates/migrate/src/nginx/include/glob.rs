//! Matches file names with the shell patterns of `include`.
//!
//! This is not the matcher of `access`: that one knows whole texts and wildcards, and a shell pattern also has `?` and
//! bracket expressions, which match one byte, in names of files that need not be UTF-8.

/// Whether a name matches a shell pattern. A bracket expression that is not supported may match more than nginx's does,
/// so more files are read.
pub(super) fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches_glob(rest, name) || name.split_first().is_some_and(|(_, after)| matches_glob(pattern, after))
        }
        (Some((b'?', rest)), Some((_, after))) => matches_glob(rest, after),
        (Some((b'[', rest)), Some((letter, after))) => match rest.iter().skip(1).position(|byte| *byte == b']') {
            Some(end) => matches_bracket(&rest[..=end], *letter) && matches_glob(&rest[end + 2..], after),
            None => *letter == b'[' && matches_glob(rest, after),
        },
        (Some((expected, rest)), Some((letter, after))) => expected == letter && matches_glob(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn matches_bracket(inside: &[u8], letter: u8) -> bool {
    let (negated, inside) = match inside.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        Some(_) | None => (false, inside),
    };
    let in_range = inside.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&letter));
    (inside.contains(&letter) || in_range) != negated
}
