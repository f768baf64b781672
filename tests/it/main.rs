//! Contains all integration tests in one binary.
//!
//! `support` starts and stops processes and builds test images. `conformance` tests the registry protocol; `real`
//! runs the client programs that people use; `grants` tests credentials that replace passwords; `faults`, `crash` and
//! `hostile` test bad requests, full disks, killed processes and malicious peers. `golden` compares visible output
//! and files with golden files that are reviewed as a diff; `architecture` and `compile_fail` check the source code.
//! A missing program fails its test with the command that installs it; no test passes by skipping.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop with its line number")]

mod architecture;
mod audit;
mod certs;
mod chains;
mod check;
mod compile_fail;
mod conformance;
mod crash;
mod faults;
mod first_start;
mod golden;
mod grants;
mod hostile;
mod keys;
mod listen;
mod maintenance;
mod mutual;
mod pem;
mod policy;
mod proxies;
mod readme;
mod real;
mod reload;
mod repository;
mod selftest;
mod support;
mod tls;
mod users_file;
mod vanish;
