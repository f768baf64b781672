//! Parses durations in Go's notation (`168h`, `1h30m`, `500ms`), which Portcullis's own settings do not accept.
//!
//! Invariant: durations are rounded down to whole seconds.

/// The seconds of a duration in Go's notation (`time.ParseDuration`), rounded down; `None` if it is not one.
pub(super) fn parse_seconds(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut milliseconds = 0_f64;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        rest = &rest[end..];
        let end = rest.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(rest.len());
        let factor = match &rest[..end] {
            "h" => 3_600_000.0,
            "m" => 60_000.0,
            "s" => 1000.0,
            "ms" => 1.0,
            "us" | "µs" | "μs" => 0.001,
            "ns" => 0.000_001,
            _ => return None,
        };
        milliseconds += number * factor;
        rest = &rest[end..];
    }
    let seconds = milliseconds / 1000.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range check bounds the value")]
    (0.0..1e15).contains(&seconds).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_go_are_read() {
        for (text, expected) in
            [("168h", 604_800), ("1h30m", 5400), ("1.5h", 5400), ("900s", 900), ("1500ms", 1), ("10ns", 0)]
        {
            assert_eq!(parse_seconds(text), Some(expected), "{text}");
        }
        for text in ["", "5", "h", "-1h", "1d", "1h-", "9e9h", ".", "99999999999999999999h"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
    }
}
