//! A connection to a server that is going to be killed.
//!
//! One invariant: before the kill a request without an answer is a failed test; after it, it is the end of the client.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::Running;
use crate::support::portcullis::ALICE;
use crate::support::stage::authorization;
use crate::support::wire::{Answer, Wire, request};

/// The server is gone. Whatever was in flight has happened or not.
pub(super) struct Over;

pub(super) struct Line<'a> {
    server: &'a Running<'a>,
    is_over: &'a AtomicBool,
    alice: String,
    wire: Option<Wire>,
}

impl<'a> Line<'a> {
    /// `is_over` is set before the server is killed.
    pub(super) fn new(server: &'a Running<'a>, is_over: &'a AtomicBool) -> Self {
        Self { server, is_over, alice: authorization(&ALICE), wire: None }
    }

    /// One request as alice, on the connection of the one before it.
    pub(super) fn ask(&mut self, method: &str, path: &str, header: &[&str], body: &[u8]) -> Result<Answer, Over> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.open()?,
        };
        let lines = [&[self.alice.as_str()], header].concat();
        // An answer may come before the whole body has gone, and is worth more than the broken connection.
        let sent = wire.try_send(&request(method, path, &lines, body));
        let Some(answer) = wire.try_answer_to(method) else {
            return Err(self.over(&format!("no answer to {method} {path}, sent: {sent:?}")));
        };
        // After an error the server may close the connection, if it has not read the whole body.
        if answer.status < 400 {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    fn open(&self) -> Result<Wire, Over> {
        let (address, ca) = (self.server.stage.address(), self.server.stage.path("certs/ca.crt"));
        Wire::open(address, &ca).map_err(|error| self.over(&error.to_string()))
    }

    fn over(&self, what: &str) -> Over {
        assert!(self.is_over.load(Ordering::SeqCst), "{what}, although nobody has killed the server");
        Over
    }
}
