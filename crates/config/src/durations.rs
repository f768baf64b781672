//! The types of settings that are durations, such as `90s` or `24h`.

use std::time::Duration;

use portcullis_text::{format_duration, parse_duration};

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

impl ValueType for DurationRange {
    type Value = Duration;

    fn noun(&self) -> String {
        let [min, max] = [self.min, self.max].map(|seconds| format_duration(Duration::from_secs(seconds)));
        format!("a duration between {min} and {max}")
    }

    fn example(&self) -> String {
        let in_bounds = |seconds: &u64| (self.min..=self.max).contains(seconds);
        let seconds = [90, 300].into_iter().find(in_bounds).unwrap_or(self.min);
        format!("\"{}\"", format_duration(Duration::from_secs(seconds)))
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<Duration, Vec<ConfigProblem>> {
        let RawValue::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        let Ok(duration) = parse_duration(text) else {
            let problem = raw.problem(format!("{} is not a duration", quote(text)));
            return Err(vec![problem.hint("write a whole number and its unit: 90s, 5m, 24h or 7d")]);
        };
        if !(self.min..=self.max).contains(&duration.as_secs()) {
            return Err(self.mismatch(raw));
        }
        Ok(duration)
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
    fn what_is_no_duration_is_refused_with_the_form_of_one() {
        let kind = DurationRange { min: 1, max: 30 * 86_400 };
        assert_eq!(kind.read(&text("24h")).unwrap(), Duration::from_secs(86_400));
        let problems = kind.read(&text("1h30m")).unwrap_err();
        assert!(problems[0].to_string().contains("\"1h30m\" is not a duration"), "{}", problems[0]);
    }

    #[test]
    fn a_word_may_stand_for_no_duration() {
        let kind = DurationOrWord { word: "off", range: DurationRange { min: 60, max: 3600 } };
        assert_eq!(kind.read(&text("off")).unwrap(), None);
        assert_eq!(kind.read(&text("1h")).unwrap(), Some(Duration::from_secs(3600)));
        assert!(kind.read(&text("keep")).is_err() && kind.read(&text("1s")).is_err());
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
