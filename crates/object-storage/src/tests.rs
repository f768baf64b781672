//! Tests the contract over the bucket in memory of the crate `object_store`; `tests/it/real/object_storage` does so
//! over real servers.

use std::sync::Arc;

use portcullis_clock::Clock;
use portcullis_storage::{Store, contract::assert_contract};

use super::*;

fn store(prefix: &str) -> Arc<dyn Store> {
    Arc::new(ObjectStorage::in_memory(prefix, Clock::system()))
}

#[tokio::test]
async fn a_bucket_keeps_the_contract_of_a_store() {
    assert_contract(async || store("/registry/")).await;
}

#[tokio::test]
async fn a_bucket_without_a_prefix_keeps_the_contract_of_a_store() {
    assert_contract(async || store("")).await;
}
