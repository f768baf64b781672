//! Reads paths and durations of registry:2.

use std::time::Duration;

use portcullis_text::format_duration;

use super::super::{duration, report::Migration, toml_writer::TomlValue, yaml::NodeRef};

/// The value of a key that holds a path, with its line; `None` if it is missing, empty or not a path.
pub(super) fn path_value(root: NodeRef<'_>, key: &str) -> Option<(TomlValue, usize)> {
    let at = root.get(key)?;
    let text = at.text().filter(|text| !text.is_empty() && !text.contains('\0'))?;
    Some((TomlValue::text(text), at.line))
}

/// The duration in a key, moved to `least` or `most` (in seconds) with a warning; `None` if it is not a duration.
pub(super) fn bounded_duration(
    at: NodeRef<'_>,
    key: &str,
    least: u64,
    most: u64,
    migration: &mut Migration,
) -> Option<TomlValue> {
    let Some(seconds) = at.text().and_then(duration::parse_seconds) else {
        migration.warn(at.line, &format!("{key}: not a duration; the default is used"));
        return None;
    };
    let bounded = seconds.clamp(least, most);
    if bounded != seconds {
        let (least, most) = (format_seconds(least), format_seconds(most));
        migration.warn(at.line, &format!("{key}: the bounds are {least} and {most}; the nearest value was taken"));
    }
    Some(TomlValue::text(format_seconds(bounded)))
}

fn format_seconds(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds))
}
