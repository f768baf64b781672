//! Replaces control characters, so that texts of the origin stay within a line of a message or a comment.

/// The text as one line: control characters are replaced by U+FFFD.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
