//! The admin socket: a Unix socket in the data folder, on which commands make requests to the running server.
//!
//! While a server uses a data folder, only that server changes the data, because the locks that keep a collection, a
//! removal or a repair apart from pushes are in its memory. A command that finds the folder locked connects to the
//! socket, sends one request, and receives events until the request has ended ([`protocol`]).
//!
//! Invariant: a request is accepted only from the account of the server or from root, by the credentials that the
//! kernel reports for the peer, on a socket that had mode 0600 from its creation. Only the holder of the lock of the
//! data folder creates or replaces the socket, so it never takes the socket of a running server.

mod client;
mod jobs;
mod listener;
mod path;
mod peer_credentials;
mod protocol;
mod server;
#[cfg(test)]
mod tests;
mod text;
mod token_jobs;
mod token_request;

pub(crate) use client::{AdminClient, ConnectError, ReceivedToken, RequestError};
pub(crate) use jobs::AdminJobs;
pub(crate) use listener::{AdminListener, remove_stale_socket};
pub(crate) use server::AdminServer;
pub(crate) use token_jobs::TokenJobs;

pub(crate) use crate::reload::ReloadTarget;
