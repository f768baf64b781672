//! Resolves the type of a plain scalar by the rules of YAML 1.1 and Go's library: boolean, number, date or text.

/// The unquoted words that are `true` in YAML 1.1.
const TRUE: [&str; 11] = ["y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"];
/// The unquoted words that are `false` in YAML 1.1.
const FALSE: [&str; 11] = ["n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"];

/// The boolean that a plain scalar is, if it is one.
pub(super) fn boolean(text: &str) -> Option<bool> {
    if TRUE.contains(&text) {
        return Some(true);
    }
    FALSE.contains(&text).then_some(false)
}

/// Whether Go's library reads the plain scalar as a number or a date.
pub(super) fn is_number_or_date(text: &str) -> bool {
    let digits = text.replace('_', "");
    let bare = digits.trim_start_matches(['+', '-']);
    let in_radix = |prefix: &str, radix| {
        bare.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|letter| letter.is_digit(radix)))
    };
    let begins = |text: &str| text.starts_with(|letter: char| letter.is_ascii_digit() || letter == '.');
    let is_date = text.len() >= 8
        && text.as_bytes().iter().take(4).all(u8::is_ascii_digit)
        && text.as_bytes().iter().skip(4).all(|byte| byte.is_ascii_digit() || b"-:.+ \tTtZz".contains(byte))
        && text[4..].starts_with('-');
    (begins(bare) && bare.parse::<f64>().is_ok())
        || in_radix("0x", 16)
        || in_radix("0b", 2)
        || in_radix("0o", 8)
        || [".inf", ".nan"].contains(&bare.to_ascii_lowercase().as_str())
        || is_date
}
