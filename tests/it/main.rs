//! The one integration binary.
//!
//! `support` starts and stops processes and builds test images. `conformance` holds the server to the protocol, sentence by
//! sentence; `real` lets the programs that people use log in, push and pull; the others hold it to its word when requests
//! are bad, disks are full, files change and processes are killed. `grants` is about what stands in for passwords, `hostile` about
//! peers who mean harm and programs that look for weaknesses. `golden`
//! holds what others see of us against files that are read as a diff; `architecture` and `compile_fail` hold what only we
//! see. A program that is missing fails its test with the line that installs it; no test passes by skipping.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop, and the line number says where")]

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
