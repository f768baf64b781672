//! Runs the contract of a store over real object stores.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use portcullis::storage::contract::assert_contract;
use portcullis::storage::{Objects as _, Store};

use crate::support::ToolCommand;
use crate::support::eventually;
use crate::support::object_store_server::{BUCKET, ObjectStoreServer};

/// Runs the whole contract, each sentence below a prefix of its own.
fn assert_contract_of(server: &ObjectStoreServer) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let number = AtomicU32::new(0);
    runtime.block_on(assert_contract(async || {
        let prefix = format!("contract/{}", number.fetch_add(1, Ordering::Relaxed));
        Arc::new(server.open(&prefix)) as Arc<dyn Store>
    }));
}

#[test]
fn seaweedfs_keeps_the_contract_of_a_store() {
    let server = ObjectStoreServer::seaweedfs();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    // The first write makes the bucket. The gateway listens some seconds before its volumes are ready.
    let store = server.open("first");
    let object = "object".parse().unwrap();
    let is_ready = || runtime.block_on(store.write(&object, "ready".into())).is_ok();
    assert!(eventually(is_ready), "{}", server.daemon.log());
    assert_contract_of(&server);
}

#[test]
fn moto_keeps_the_contract_of_a_store() {
    let server = ObjectStoreServer::moto();
    let bucket = format!("{}/{BUCKET}", server.config("").endpoint.unwrap());
    ToolCommand::new("curl").args(["-fsS", "-X", "PUT", &bucket]).run_ok();
    assert_contract_of(&server);
}
