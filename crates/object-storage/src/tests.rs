//! Tests the contract over the object store in memory of the crate `object_store`.

use std::sync::Arc;

use object_store::memory::InMemory;
use portcullis_clock::Clock;
use portcullis_storage::Store;

use super::*;

fn store() -> Arc<dyn Store> {
    let bucket = Arc::new(InMemory::new());
    Arc::new(ObjectStorage::new(bucket, "memory://bucket".to_owned(), "/registry/", 64 << 20, Clock::system()))
}

mod contract {
    portcullis_storage::store_contract!(super::store());
}
