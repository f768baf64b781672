//! The one integration binary: everything here speaks to a running `portcullis` over real TLS.
//!
//! `support` starts and stops processes and builds test images, `real` lets the programs that people use log in, push
//! and pull. A program that is missing fails its test with the line that installs it; no test passes by skipping.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop, and the line number says where")]

mod faults;
mod first_start;
mod real;
mod reload;
mod support;
mod tls;
