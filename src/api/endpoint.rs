//! Parses the method, path and query of a request into an [`Endpoint`]; no other code reads a request URL.
//!
//! Invariant: names, digests, tags and numbers in an [`Endpoint`] are parsed values; no handler looks at the path
//! again.
//!
//! The path is percent-decoded once, as a whole, and then parsed. So all spellings of a path that RFC 3986 calls
//! equivalent are the same endpoint with the same rights, as in registry:2. A path that was encoded twice still
//! contains a `%`, which no name, tag, digest or fixed part of a path contains. The path is parsed from the right: a
//! repository name contains slashes and may itself be `blobs/manifests`, so only the last components identify the
//! endpoint. A `..` is not a valid name, in any encoding.

mod operation;
mod parser;
mod query;
#[cfg(test)]
mod tests;

pub use operation::{
    AdminOperation, DeleteOperation, Endpoint, MountSource, NewUpload, PublicEndpoint, PullOperation, PushOperation,
    RegistryEndpoint, RepositoryOperation, SearchQuery, UploadOperation,
};
pub(super) use parser::percent_decode;
