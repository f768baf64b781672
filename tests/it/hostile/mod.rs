//! Peers who mean harm, and the programs with which auditors look for weaknesses.
//!
//! Nobody can make the server wait, promise memory or spend work without end; whoever tries loses the connection, and
//! everybody else is served meanwhile.

mod floods;
mod frames;
mod memory;
mod scanners;
mod session;
mod slow;
