//! Formats the rows as Markdown tables.

use std::fmt::Write as _;

use super::number::{figures, spread, value};
use crate::result_row::{Better, Goal, Row};

/// The complete table.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut text =
        "| what | Portcullis | compared with | theirs | ratio | goal | met |\n|---|---|---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        let (ours, theirs) = (spread(row.unit, &row.ours), spread(row.unit, &row.theirs));
        let (ratio, goal) = (figures(row.ratio()), goal(row));
        writeln!(text, "| {} | {ours} | {} | {theirs} | {ratio} | {goal} | {} |", row.name, row.peer, met(row))
            .unwrap();
    }
    text
}

fn goal(row: &Row) -> String {
    let sign = match row.better {
        Better::Less => "≤",
        Better::More => "≥",
    };
    match row.goal {
        None => String::new(),
        Some(Goal::Ratio(ratio)) => format!("{sign} {}", figures(ratio)),
        Some(Goal::Value(number)) => format!("{sign} {}", value(row.unit, number)),
    }
}

fn met(row: &Row) -> &'static str {
    match row.is_met() {
        None => "",
        Some(true) => "yes",
        Some(false) => "**no**",
    }
}
