//! Defines a store as the sum of its parts.

use super::{Records, Uploads};

/// What a store offers: objects, records and uploads.
pub trait Store: Records + Uploads {}

impl<S: Records + Uploads> Store for S {}
