//! Passes what is known about a request before it is routed to its handler, as an extension of the request.

use super::{super::connection_info::ConnectionInfo, access_log::LoggedUser, request_id::RequestId};

/// The facts about a request that its handler cannot read from the request itself.
#[derive(Clone, Debug)]
pub(in crate::api) struct RequestInfo {
    pub(in crate::api) id: RequestId,
    pub(in crate::api) connection: ConnectionInfo,
    /// The user in the access log, which is set when the caller is authenticated.
    pub(in crate::api) user: LoggedUser,
}
