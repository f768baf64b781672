//! Counts with strace how many disk syncs a push waits for.
//!
//! Each sync is a trip to the disk and often a flush of its cache, so their number is the cost of small pushes. A
//! file and its directory need two; with fewer nothing is durable, and more are wasted. After a kill, the start syncs
//! whole file systems.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::{
    PortcullisServer, ServerDir, oci_layout::digest, portcullis_server::BINARY, tool_command::require,
};

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A server under strace.
struct StracedServer {
    server: PortcullisServer,
    trace: PathBuf,
}

impl StracedServer {
    fn start(stage: &ServerDir) -> Self {
        let trace = stage.path("trace");
        let mut command = Command::new(require("strace"));
        command.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,sync,syncfs,sync_file_range,msync", "-o"]).arg(&trace);
        command.current_dir(stage.folder()).arg(BINARY).arg("serve");
        Self { server: stage.start_as(command), trace }
    }

    /// The number of syncs so far. strace writes a line before the call returns.
    fn count(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).unwrap();
        trace.lines().filter(|line| !line.contains("resumed>")).count()
    }

    /// The number of times that a whole file system was synced.
    fn file_system_syncs(&self) -> usize {
        let trace = fs::read_to_string(&self.trace).unwrap();
        trace.lines().filter(|line| line.contains("syncfs(")).count()
    }

    /// The number of syncs that a step makes.
    fn syncs_of(&self, step: impl FnOnce(&PortcullisServer)) -> usize {
        let before = self.count();
        step(&self.server);
        self.count() - before
    }
}

impl Drop for StracedServer {
    /// strace does not pass signals on to its child: the server is ended first, and strace ends with it.
    fn drop(&mut self) {
        let tracer = self.server.daemon.id();
        let children = fs::read_to_string(format!("/proc/{tracer}/task/{tracer}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
            let _ = kill_process(child, Signal::TERM);
        }
        self.server.daemon.wait_for_exit(Duration::from_secs(60));
    }
}

fn begin(server: &PortcullisServer) -> String {
    server
        .request_as_alice("POST", "/v2/team/app/blobs/uploads/", &[], b"")
        .expect(202)
        .header("location")
        .unwrap()
        .to_owned()
}

fn closed(location: &str, content: &[u8]) -> String {
    let mark = if location.contains('?') { '&' } else { '?' };
    format!("{location}{mark}digest={}", digest(content))
}

fn in_one_request(server: &PortcullisServer, content: &[u8]) {
    let path = format!("/v2/team/app/blobs/uploads/?digest={}", digest(content));
    server.request_as_alice("POST", &path, &[], content).expect(201);
}

/// An upload as containerd, podman and skopeo make it: POST and PUT.
fn in_two_requests(server: &PortcullisServer, content: &[u8]) {
    let path = closed(&begin(server), content);
    server.request_as_alice("PUT", &path, &[], content).expect(201);
}

/// An upload as the Docker Engine makes it: POST, PATCH and PUT.
fn in_three_requests(server: &PortcullisServer, content: &[u8]) {
    let patched = server.request_as_alice("PATCH", &begin(server), &[], content).expect(202);
    let path = closed(patched.header("location").unwrap(), content);
    server.request_as_alice("PUT", &path, &[], b"").expect(201);
}

fn image(layer: &[u8], note: &str) -> Value {
    let entry = |media_type: &str, content: &[u8]| json!({"mediaType": media_type, "digest": digest(content), "size": content.len()});
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(CONFIG, b"{}"),
        "layers": [entry("application/vnd.oci.image.layer.v1.tar", layer)], "annotations": {"note": note}})
}

fn put(server: &PortcullisServer, reference: &str, document: &Value) {
    let path = format!("/v2/team/app/manifests/{reference}");
    server
        .request_as_alice("PUT", &path, &[&format!("Content-Type: {MANIFEST}")], document.to_string().as_bytes())
        .expect(201);
}

/// Whether a directory is on ext4, XFS, btrfs or tmpfs (`statfs(2)`).
fn keeps_order(folder: &Path) -> bool {
    [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994].contains(&i128::from(rustix::fs::statfs(folder).unwrap().f_type))
}

#[test]
fn a_new_small_blob_waits_for_the_disk_at_most_six_times_and_a_manifest_with_a_tag_eight_times() {
    let stage = ServerDir::new();
    let traced = StracedServer::start(&stage);
    // On other file systems the order of names is not guaranteed, so each directory on the path is synced as well.
    let (blob, manifest) = if keeps_order(stage.folder()) { (6, 8) } else { (16, 24) };
    let first = traced.syncs_of(|server| in_one_request(server, b"{}"));
    // Also in a new repository, and in each way in which clients upload.
    assert!((1..=blob).contains(&first), "the first blob: {first}");
    for (upload, ways) in [
        (in_one_request as fn(&PortcullisServer, &[u8]), "one request"),
        (in_two_requests, "two requests"),
        (in_three_requests, "three requests"),
    ] {
        let count = traced.syncs_of(|server| upload(server, ways.as_bytes()));
        assert!((3..=blob).contains(&count), "{ways}: {count}");
    }
    for (tag, note) in [("new", "the first tag"), ("another", "another tag"), ("new", "a tag that moves on")] {
        let count = traced.syncs_of(|server| put(server, tag, &image(b"one request", note)));
        assert!((6..=manifest).contains(&count), "{note}: {count}");
    }
}

#[test]
fn what_a_killed_server_left_unsynced_is_durable_before_the_next_one_serves() {
    let stage = ServerDir::new();
    let mut server = stage.start();
    in_one_request(&server, b"{}");
    server.daemon.signal(Signal::KILL);
    assert!(server.daemon.wait_for_exit(Duration::from_secs(20)).is_some());
    drop(server);
    let traced = StracedServer::start(&stage);
    assert_eq!(traced.file_system_syncs(), 1, "{}", traced.server.log());
    assert!(traced.server.log().contains("did not end cleanly"), "{}", traced.server.log());
    drop(traced);
    // The server before ended by SIGTERM.
    let traced = StracedServer::start(&stage);
    assert_eq!(traced.file_system_syncs(), 0, "{}", traced.server.log());
    traced.server.request_as_alice("HEAD", &format!("/v2/team/app/blobs/{}", digest(b"{}")), &[], b"").expect(200);
}

#[test]
fn a_command_without_a_server_leaves_a_clean_data_folder() {
    let stage = ServerDir::new();
    let mut server = stage.start();
    in_one_request(&server, b"{}");
    server.daemon.signal(Signal::KILL);
    assert!(server.daemon.wait_for_exit(Duration::from_secs(20)).is_some());
    for command in [&["gc"][..], &["fsck", "--repair"], &["repository", "remove", "team/app", "--yes"]] {
        stage.portcullis_command().args(command).run_ok();
        assert!(stage.path("data/portcullis/clean").exists(), "{command:?}");
    }
}
