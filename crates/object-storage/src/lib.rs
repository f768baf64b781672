//! Stores content in an object store: S3, Azure Blob Storage or Google Cloud Storage.
//!
//! The library `object_store` makes and signs the requests; [`http_adapter`] sends them through this project's own HTTP
//! client.

pub mod http_adapter;
