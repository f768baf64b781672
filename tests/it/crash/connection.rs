//! Sends requests on one connection to a server that is going to be killed.
//!
//! Invariant: before the kill, a request without an answer fails the test; after it, it ends the client.

use super::kill_switch::KillSwitch;
use crate::support::PortcullisServer;
use crate::support::portcullis_server::ALICE;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, WireResponse, request};

/// The server was killed. A request in flight has happened or not.
pub(super) struct ServerKilled;

pub(super) struct KillableConnection<'a> {
    server: &'a PortcullisServer,
    kill_switch: &'a KillSwitch<'a>,
    alice: String,
    wire: Option<WireConnection>,
}

impl<'a> KillableConnection<'a> {
    /// Connects lazily.
    pub(super) fn new(server: &'a PortcullisServer, kill_switch: &'a KillSwitch<'a>) -> Self {
        Self { server, kill_switch, alice: basic_authorization(&ALICE), wire: None }
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
        self.kill_switch.request_was_sent();
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
        assert!(self.kill_switch.has_killed(), "{what}, although the server was not killed");
        ServerKilled
    }
}
