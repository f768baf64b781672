//! Formats numbers with about three significant figures and a unit.

use crate::{result_row::Unit, samples::Samples};

/// The median with its unit.
fn median(unit: Unit, samples: &Samples) -> String {
    format!("{}{}", figures(samples.median()), suffix(unit))
}

/// The median with its unit, followed by the smallest and the largest sample in brackets.
pub(super) fn spread(unit: Unit, samples: &Samples) -> String {
    format!("{} ({}–{})", median(unit, samples), figures(samples.min()), figures(samples.max()))
}

/// A single value with its unit.
pub(super) fn value(unit: Unit, number: f64) -> String {
    format!("{}{}", figures(number), suffix(unit))
}

/// A number with about three significant figures.
pub(super) fn figures(number: f64) -> String {
    let decimals = match number.abs() {
        large if large >= 100.0 => 0,
        medium if medium >= 10.0 => 1,
        small if small >= 1.0 => 2,
        _ => 3,
    };
    format!("{number:.decimals$}")
}

fn suffix(unit: Unit) -> &'static str {
    match unit {
        Unit::SecondsPerGigabyte => " s/GB",
        Unit::Seconds => " s",
        Unit::Milliseconds => " ms",
        Unit::RequestsPerSecond | Unit::HandshakesPerSecond => "/s",
        Unit::Megabytes => " MB",
        Unit::Times => " ×",
    }
}
