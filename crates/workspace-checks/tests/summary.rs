//! Prints what plain `cargo test` leaves out. It is the last program that `cargo test` runs.

use std::io::Write as _;

fn main() {
    // cargo-nextest asks for the list of tests; there are none here.
    let is_listing = std::env::args().any(|argument| argument == "--list");
    if let Some(text) = portcullis_workspace_checks::left_out().filter(|_| !is_listing) {
        let _ = writeln!(std::io::stderr(), "\n{text}\n");
    }
}
