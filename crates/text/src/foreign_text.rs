//! Removes control characters from text that another party wrote (a server, the issuer of a certificate, a file):
//! a terminal executes control sequences, and a line break forges a line of the log.

/// The text with its control characters replaced: tabs and line breaks by a space, all others by U+FFFD.
#[must_use]
pub fn without_control_characters(text: &str) -> String {
    text.chars().map(replace_control_character).collect()
}

/// The text as one line without control characters, cut after `max_chars` characters; an ellipsis marks the cut.
#[must_use]
pub fn single_line(text: &str, max_chars: usize) -> String {
    let mut letters = text.trim_end().chars().map(replace_control_character);
    let mut line: String = letters.by_ref().take(max_chars).collect();
    if letters.next().is_some() {
        line.push('…');
    }
    line
}

fn replace_control_character(letter: char) -> char {
    match letter {
        '\t' | '\n' | '\r' => ' ',
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_forges_no_line_and_no_control_sequence() {
        assert_eq!(without_control_characters("a\nb\u{1b}[31mc\u{9b}d\t"), "a b\u{fffd}[31mc\u{fffd}d ");
        assert_eq!(single_line("a\r\nb\u{1b}\n", 100), "a  b\u{fffd}");
    }

    #[test]
    fn a_line_is_cut_by_characters_and_the_cut_is_visible() {
        assert_eq!(single_line("äöü", 3), "äöü");
        assert_eq!(single_line("äöü", 2), "äö…");
        assert_eq!(single_line(&"x".repeat(5000), 600).chars().count(), 601);
    }
}
