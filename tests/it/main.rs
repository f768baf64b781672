//! Contains all integration tests in one binary.
//!
//! `support` starts and stops processes and builds test images. `conformance` tests the registry protocol; `real`
//! runs the client programs that people use; `credentials` tests tokens that replace passwords; `faults`, `crash` and
//! `hostile` test bad requests, full disks, killed processes and malicious peers. `golden` compares visible output
//! and files with golden files that are reviewed as a diff; `architecture` and `compile_fail` check the source code.
//! A missing program fails its test with the command that installs it; no test passes by skipping.

#![allow(clippy::disallowed_methods, reason = "the program under test has the clocks of the system, too")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop with its line number")]

mod access_rules;
mod admin_socket;
mod architecture;
mod audit_log;
mod certificate_chains;
mod certs;
mod check_command;
mod client_disconnect;
mod compile_fail;
mod config_reload;
mod conformance;
mod crash;
mod credentials;
mod documentation;
mod faults;
mod first_start;
mod golden;
mod hostile;
mod listen_without_ipv6;
mod load_balancers;
mod maintenance;
mod mtls;
mod pem;
#[cfg(feature = "real-parts")]
mod real;
mod repository_command;
mod selftest;
#[cfg_attr(not(feature = "real-parts"), expect(dead_code, reason = "used by the tests with real programs"))]
mod support;
mod tls;
mod token_keys;
mod unusable_users_files;
mod wording;
