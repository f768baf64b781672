//! The table of benchmark cases, each of which has its own file.

mod contention;
mod handshake;
mod image;
mod lists;
mod manifest;
mod memory;
mod pull;
mod push;
mod start;

pub(crate) use push::push_once;

use crate::{context::BenchContext, result_row::Row};

/// A benchmark case.
pub(crate) struct Case {
    /// The name that selects it on the command line.
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) measure: fn(&BenchContext) -> Vec<Row>,
}

/// All of them, in the order of the report.
pub(crate) const ALL: &[Case] = &[
    Case { name: "pull", about: "a large blob, alone and 16 at once", measure: pull::measure },
    Case { name: "push", about: "a large blob, alone and many at once", measure: push::measure },
    Case { name: "image", about: "images of many small and of few large layers, by skopeo", measure: image::measure },
    Case { name: "manifest", about: "many small requests, with passwords and with tokens", measure: manifest::measure },
    Case { name: "storm", about: "a client that pulls while 64 others sign in", measure: contention::measure },
    Case { name: "handshake", about: "new connections", measure: handshake::measure },
    Case { name: "lists", about: "catalog and tags of a large registry", measure: lists::measure },
    Case { name: "start", about: "from the start to the first response", measure: start::measure },
    Case { name: "memory", about: "idle, and while large blobs are pushed", measure: memory::measure },
];
