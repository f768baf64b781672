//! Implements `portcullis token inspect`: decodes a JWT; prints its header, claims and times, and names the signing
//! key.

use std::{
    fmt::Write as _,
    io::{self, Read as _, Write as _},
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use super::{
    super::CommandError,
    args::{KeyArgs, KeySettings},
};
use crate::{
    auth::{
        TokenConfig,
        signing_keys::{SigningKeySet, format_utc},
        tokens::decode::{self, DecodedToken},
    },
    clock::Clock,
};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The token; without it, or with `-`, it is read from standard input, where other users of this machine do not see
    /// it
    token: Option<String>,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) fn run(args: Args, config: Option<PathBuf>, clock: &Clock) -> Result<(), CommandError> {
    let token = match args.token.filter(|token| token != "-") {
        Some(token) => Zeroizing::new(token),
        None => read_stdin()?,
    };
    let token = token.trim();
    let token = token.strip_prefix("Bearer ").unwrap_or(token).trim_start();
    let dissection = decode::decode(token).map_err(|error| {
        CommandError::new(error, Some("pass the token alone, without `Authorization: Bearer` before it"))
    })?;
    let KeySettings { token: config, .. } = args.key.load_settings(config)?;
    let now = clock.now();
    // A machine without the key file can still decode the token.
    let keys = SigningKeySet::read(&config, now);
    let signature = match &keys {
        Ok(keys) => describe_signature(token, &dissection, keys, &config, now),
        Err(error) => format!("not checked: {error}"),
    };
    let text = format_report(&dissection, &signature, now);
    io::stdout().lock().write_all(text.as_bytes()).map_err(|error| CommandError::new(error, None))
}

fn read_stdin() -> Result<Zeroizing<String>, CommandError> {
    let max_bytes = decode::MAX_DECODED_LEN + 1024;
    let mut token = Zeroizing::new(String::with_capacity(max_bytes));
    let read = io::stdin().lock().take(max_bytes as u64).read_to_string(&mut token);
    read.map_err(|error| CommandError::new(format!("the token cannot be read: {error}"), None))?;
    Ok(token)
}

fn describe_signature(
    token: &str,
    dissection: &DecodedToken,
    keys: &SigningKeySet,
    config: &TokenConfig,
    now: SystemTime,
) -> String {
    let file = config.key.display();
    let Some(key) = decode::find_signer(token, keys) else {
        return format!("by no key of {file}");
    };
    let named = dissection.header.get("kid").and_then(Value::as_str);
    let algorithm = dissection.header.get("alg").and_then(Value::as_str);
    let mut text = format!("by the key {} of {file}", key.id());
    // Writing to a String cannot fail.
    let _ = match key.retires_at() {
        None => write!(text, ", the current signing key"),
        Some(retires) if retires <= now => {
            write!(text, ", which retired {}: the token is not accepted", format_utc(retires))
        }
        Some(retires) => write!(text, ", which verifies tokens until {}", format_utc(retires)),
    };
    if !named.is_some_and(|id| key.has_id(id)) || algorithm != Some(key.algorithm().as_str()) {
        text.push_str("; but its header names another key or algorithm, so it is not accepted");
    }
    text
}

fn format_report(dissection: &DecodedToken, signature: &str, now: SystemTime) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "header:\n{}", pretty_json(&dissection.header));
    let _ = writeln!(text, "claims:\n{}", pretty_json(&dissection.claims));
    let now = i64::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
    for (claim, past, future) in
        [("iat", "issued", "to be issued"), ("nbf", "valid since", "valid from"), ("exp", "expired", "expires")]
    {
        if let Some(time) = dissection.numeric_date(claim) {
            let words = if time <= now { past } else { future };
            let _ = writeln!(text, "{words}: {}", format_time(time, now));
        }
    }
    let _ = writeln!(text, "signed: {signature}");
    text
}

fn pretty_json(object: &Map<String, Value>) -> String {
    let text = serde_json::to_string_pretty(object).unwrap_or_default();
    // JSON does not escape every control character, and a terminal executes them.
    text.chars().fold(String::new(), |mut safe, letter| {
        if letter.is_control() && letter != '\n' {
            let _ = write!(safe, "\\u{:04x}", u32::from(letter));
        } else {
            safe.push(letter);
        }
        safe
    })
}

/// A Unix time as a date, with its distance from now.
fn format_time(time: i64, now: i64) -> String {
    let date = OffsetDateTime::from_unix_timestamp(time).ok().and_then(|date| date.format(&Rfc3339).ok());
    // A time beyond the range of dates is printed as a number.
    let date = date.unwrap_or_else(|| time.to_string());
    let distance = format_duration(time.abs_diff(now));
    if time <= now { format!("{date}, {distance} ago") } else { format!("{date}, in {distance}") }
}

/// A duration in the largest unit of which there are at least two, or exactly one.
fn format_duration(seconds: u64) -> String {
    let units = [("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1)];
    let (name, factor) =
        units.into_iter().find(|(_, factor)| seconds >= 2 * factor || seconds == *factor).unwrap_or(("second", 1));
    let count = seconds / factor;
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_words() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "1 minute"),
            (61, "61 seconds"),
            (300, "5 minutes"),
            (3_600, "1 hour"),
            (5_000, "83 minutes"),
            (86_400 * 3, "3 days"),
        ] {
            assert_eq!(format_duration(seconds), text);
        }
        assert_eq!(format_time(1_800_000_000, 1_800_000_060), "2027-01-15T08:00:00Z, 1 minute ago");
        assert_eq!(format_time(1_800_000_060, 1_800_000_000), "2027-01-15T08:01:00Z, in 1 minute");
        for time in [i64::MIN, i64::MAX] {
            assert!(format_time(time, 0).starts_with(&time.to_string()), "{time}");
        }
    }

    #[test]
    fn what_a_token_says_does_not_reach_the_terminal_as_commands() {
        let object = serde_json::from_str(r#"{"sub": "a\u001b[2J\u009b2J\u007f\nb"}"#).unwrap();
        assert_eq!(pretty_json(&object), "{\n  \"sub\": \"a\\u001b[2J\\u009b2J\\u007f\\nb\"\n}");
    }
}
