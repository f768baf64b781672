//! Parses and formats durations: `90s`, `5m`, `24h`, `7d`.
//!
//! Invariant: a duration is one whole number and one unit; `1h30m` and a bare `30` are rejected, because programs read
//! them differently.

use std::time::Duration;

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parses a duration, without bounds.
///
/// # Errors
///
/// Fails if the text is not one whole number and one unit, or more seconds than fit into 64 bits.
pub fn parse_duration(text: &str) -> Result<Duration, InvalidDuration> {
    parse_seconds(text).map(Duration::from_secs).ok_or(InvalidDuration)
}

/// The text is not one whole number and one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and its unit: 90s, 5m, 24h or 7d")]
pub struct InvalidDuration;

/// Formats the whole seconds of a duration in the largest unit of which they are a multiple, such as `7d`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let unit = UNITS.into_iter().find(|(_, factor)| seconds >= *factor && seconds.is_multiple_of(*factor));
    let (letter, factor) = unit.unwrap_or(('s', 1));
    format!("{}{letter}", seconds / factor)
}

fn parse_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let (_, factor) = UNITS.into_iter().find(|(letter, _)| unit.starts_with(*letter))?;
    let all_digits = number.bytes().all(|byte| byte.is_ascii_digit());
    all_digits.then(|| number.parse::<u64>().ok()?.checked_mul(factor)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_one_unit() {
        for (written, seconds) in [("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("007s", 7)] {
            assert_eq!(parse_duration(written), Ok(Duration::from_secs(seconds)), "{written}");
        }
        let overflowing = format!("{}d", u64::MAX);
        for written in ["", "s", "90", "5 m", "-5m", "+5m", "1h30m", "5min", "5µ", "5M", "½h", &overflowing] {
            assert_eq!(parse_duration(written), Err(InvalidDuration), "{written}");
        }
    }

    #[test]
    fn a_duration_is_written_in_its_largest_whole_unit() {
        for spelling in ["1s", "90s", "5m", "36h", "7d", "0s"] {
            assert_eq!(format_duration(parse_duration(spelling).unwrap()), spelling);
        }
        for (seconds, text) in [(604_800, "7d"), (5400, "90m"), (901, "901s"), (7200, "2h")] {
            assert_eq!(format_duration(Duration::from_secs(seconds)), text);
        }
    }
}
