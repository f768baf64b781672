//! Parses and formats durations: `90s`, `5m`, `24h`, `7d`.
//!
//! Invariant: a duration is one whole number and one unit; `1h30m` and a bare `30` are rejected, because programs read
//! them differently.

use std::time::Duration;

use super::{
    problem::{ConfigProblem, quote},
    value::{Located, RawValue},
    value_type::ValueType,
};

/// The type of a setting that is a duration between two bounds, inclusive.
pub(super) struct DurationRange {
    /// The lower bound in seconds.
    pub(super) min: u64,
    /// The upper bound in seconds.
    pub(super) max: u64,
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Parses a duration without bounds, for the arguments of commands.
pub fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    DurationRange::parse_seconds(text).map(Duration::from_secs).ok_or(InvalidDuration)
}

/// The text is not one whole number and one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a duration is a whole number and its unit: 90s, 5m, 24h or 7d")]
pub struct InvalidDuration;

impl DurationRange {
    fn parse_seconds(text: &str) -> Option<u64> {
        let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
        let (_, factor) = UNITS.into_iter().find(|(letter, _)| unit.starts_with(*letter))?;
        let all_digits = number.bytes().all(|byte| byte.is_ascii_digit());
        all_digits.then(|| number.parse::<u64>().ok()?.checked_mul(factor)).flatten()
    }

    fn format_seconds(seconds: u64) -> String {
        let (letter, factor) = UNITS
            .into_iter()
            .find(|(_, factor)| seconds >= *factor && seconds.is_multiple_of(*factor))
            .unwrap_or(('s', 1));
        format!("{}{letter}", seconds / factor)
    }
}

impl ValueType for DurationRange {
    type Value = Duration;

    fn noun(&self) -> String {
        format!("a duration between {} and {}", Self::format_seconds(self.min), Self::format_seconds(self.max))
    }

    fn example(&self) -> String {
        let in_bounds = |seconds: &u64| (self.min..=self.max).contains(seconds);
        let seconds = [90, 300].into_iter().find(in_bounds).unwrap_or(self.min);
        format!("\"{}\"", Self::format_seconds(seconds))
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<Duration, Vec<ConfigProblem>> {
        let RawValue::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        let Some(seconds) = Self::parse_seconds(text) else {
            let problem = raw.problem(format!("{} is not a duration", quote(text)));
            return Err(vec![problem.hint("write a whole number and its unit: 90s, 5m, 24h or 7d")]);
        };
        if !(self.min..=self.max).contains(&seconds) {
            return Err(self.mismatch(raw));
        }
        Ok(Duration::from_secs(seconds))
    }
}

/// The type of a setting that is a duration, or a word that means none.
pub(super) struct DurationOrWord {
    pub(super) word: &'static str,
    pub(super) range: DurationRange,
}

impl ValueType for DurationOrWord {
    type Value = Option<Duration>;

    fn noun(&self) -> String {
        format!("{}, or \"{}\"", self.range.noun(), self.word)
    }

    fn example(&self) -> String {
        self.range.example()
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<Option<Duration>, Vec<ConfigProblem>> {
        let is_word = matches!(&raw.value, RawValue::Text(text) if text == self.word);
        if is_word { Ok(None) } else { self.range.read(raw).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::SettingPlace;

    fn text(text: &str) -> Located<RawValue> {
        Located::new(RawValue::Text(text.to_owned()), SettingPlace::Variable("X".to_owned()))
    }

    #[test]
    fn durations_have_a_number_and_one_unit() {
        let kind = DurationRange { min: 1, max: 30 * 86_400 };
        for (written, seconds) in [("90s", 90), ("5m", 300), ("24h", 86_400), ("7d", 604_800), ("007s", 7)] {
            assert_eq!(kind.read(&text(written)).unwrap(), Duration::from_secs(seconds), "{written}");
        }
        let overflowing = format!("{}d", u64::MAX);
        for written in ["", "s", "90", "5 m", "-5m", "+5m", "1h30m", "5min", "5µ", "5M", "½h", &overflowing] {
            assert!(kind.read(&text(written)).is_err(), "{written}");
        }
    }

    #[test]
    fn a_word_may_stand_for_no_duration() {
        let kind = DurationOrWord { word: "off", range: DurationRange { min: 60, max: 3600 } };
        assert_eq!(kind.read(&text("off")).unwrap(), None);
        assert_eq!(kind.read(&text("1h")).unwrap(), Some(Duration::from_secs(3600)));
        assert!(kind.read(&text("keep")).is_err() && kind.read(&text("1s")).is_err());
    }

    #[test]
    fn a_duration_is_spelled_in_its_largest_whole_unit() {
        for spelling in ["1s", "90s", "5m", "36h", "7d", "0s"] {
            assert_eq!(DurationRange::format_seconds(DurationRange::parse_seconds(spelling).unwrap()), spelling);
        }
    }

    #[test]
    fn bounds_are_inclusive() {
        let kind = DurationRange { min: 60, max: 3600 };
        assert!(kind.read(&text("1m")).is_ok() && kind.read(&text("1h")).is_ok());
        assert!(kind.read(&text("59s")).is_err() && kind.read(&text("3601s")).is_err());
    }

    #[test]
    fn examples_are_within_bounds() {
        for (least, most) in [(1, 300), (60, 3600), (0, 60), (86_400, 604_800)] {
            let kind = DurationRange { min: least, max: most };
            assert!(kind.read(&text(kind.example().trim_matches('"'))).is_ok());
        }
    }
}
