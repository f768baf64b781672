//! Tests malicious peers, and runs the programs with which auditors look for weaknesses.
//!
//! No peer can make the server wait, reserve memory or work without bound; a peer that tries loses its connection,
//! and other clients are served meanwhile.

mod floods;
mod frames;
mod memory;
mod scanners;
mod session;
mod slow;
