//! Sends requests on one connection to a server that is going to be killed.
//!
//! Invariant: before the kill, a request without an answer fails the test; after it, it ends the client.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::RunningServer;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, WireResponse, request};

/// The server was killed. A request in flight has happened or not.
pub(super) struct ServerKilled;

pub(super) struct KillableConnection<'a> {
    server: &'a RunningServer<'a>,
    is_over: &'a AtomicBool,
    alice: String,
    wire: Option<WireConnection>,
}

impl<'a> KillableConnection<'a> {
    /// Connects lazily; `is_over` is set before the server is killed.
    pub(super) fn new(server: &'a RunningServer<'a>, is_over: &'a AtomicBool) -> Self {
        Self { server, is_over, alice: basic_authorization(&ALICE), wire: None }
    }

    /// Sends one request as alice, on the connection of the previous one.
    pub(super) fn ask(
        &mut self,
        method: &str,
        path: &str,
        header: &[&str],
        body: &[u8],
    ) -> Result<WireResponse, ServerKilled> {
        let mut wire = match self.wire.take() {
            Some(wire) => wire,
            None => self.open()?,
        };
        let lines = [&[self.alice.as_str()], header].concat();
        // An answer may arrive before the whole body is sent; it counts more than the broken connection.
        let sent = wire.try_send(&request(method, path, &lines, body));
        let Some(answer) = wire.try_response_to(method) else {
            return Err(self.over(&format!("no answer to {method} {path}, sent: {sent:?}")));
        };
        // After an error the server may close the connection, if it has not read the whole body.
        if answer.status < 400 {
            self.wire = Some(wire);
        }
        Ok(answer)
    }

    fn open(&self) -> Result<WireConnection, ServerKilled> {
        let (address, ca) = (self.server.stage.address(), self.server.stage.path("certs/ca.crt"));
        WireConnection::open(address, &ca).map_err(|error| self.over(&error.to_string()))
    }

    fn over(&self, what: &str) -> ServerKilled {
        assert!(self.is_over.load(Ordering::SeqCst), "{what}, although the server was not killed");
        ServerKilled
    }
}
