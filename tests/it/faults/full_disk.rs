//! Tests disks that are full, and disks that cannot be written.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::{assert_pulls, begin_upload, push_blob};
use crate::support::oci_layout::{digest, random_bytes};
use crate::support::{PortcullisServer, ServerDir, ToolCommand, eventually};

const MANIFEST: &str = "Content-Type: application/vnd.oci.image.manifest.v1+json";

/// A small in-memory file system below a stage's directory; unmounted by `Drop`.
pub(super) struct SmallDisk {
    place: PathBuf,
}

impl SmallDisk {
    pub(super) fn mount(place: PathBuf, size: &str) -> Self {
        fs::create_dir(&place).unwrap();
        ToolCommand::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={size}"))
            .arg("tmpfs")
            .arg(&place)
            .run_ok();
        Self { place }
    }

    /// The directory `source` bind-mounted at another place, as container engines do.
    pub(super) fn bind(place: PathBuf, source: &Path) -> Self {
        ToolCommand::new("mount").arg("--bind").arg(source).arg(&place).run_ok();
        Self { place }
    }

    fn remount(&self, option: &str) {
        ToolCommand::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.place).run_ok();
    }

    /// Fills the disk, except for so many bytes.
    fn fill_except(&self, left: usize) {
        self.make_space();
        let mut file = File::create(self.ballast()).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length.saturating_sub(left as u64) / 4096 * 4096).unwrap();
    }

    fn make_space(&self) {
        let _ = fs::remove_file(self.ballast());
    }

    fn ballast(&self) -> PathBuf {
        self.place.join("ballast")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because a failing test may drop its server later than its disk.
        ToolCommand::new("umount").arg("--lazy").arg(&self.place).run();
    }
}

fn manifest_of(config: &str, size: usize, padding: usize) -> Vec<u8> {
    let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size});
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let annotations = json!({"padding": "x".repeat(padding)});
    let document = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": [], "annotations": annotations});
    document.to_string().into_bytes()
}

/// The regular files below a directory, without uploads in progress.
fn visible(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("_uploads") {
            found.extend(visible(&path));
        } else if path.is_file() {
            found.push(path);
        }
    }
    found
}

/// Asserts that every blob in the store has the digest that its path names.
fn everything_visible_is_whole(stage: &ServerDir) {
    for path in visible(&stage.path("data/docker/registry/v2/blobs")) {
        let hex = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        assert_eq!(digest(&fs::read(&path).unwrap()), format!("sha256:{hex}"), "{}", path.display());
    }
    for path in visible(&stage.path("data/docker/registry/v2/repositories")) {
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.len(), 71, "{} should hold a digest, not {text:?}", path.display());
    }
}

fn no_temporary_file_is_left(server: &PortcullisServer) {
    let left: Vec<_> = fs::read_dir(server.stage.path("data/portcullis/tmp")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Asserts that the readiness check returns this status; it examines the disk every two seconds at most.
pub(super) fn assert_ready_status(server: &PortcullisServer, status: u16) {
    let is_told = || server.request("GET", "/readyz", &[], b"").status == status;
    assert!(eventually(Duration::from_secs(5), is_told), "/readyz should answer {status}");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_push_to_a_full_disk_is_refused_and_works_again_after_space_is_made() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "8m");
    let server = stage.start();
    let (kept, large) = (random_bytes(1 << 20), random_bytes(6 << 20));
    let kept_digest = push_blob(&server, "a", &kept);
    disk.fill_except(2 << 20);

    let large_digest = digest(&large);
    let whole = format!("/v2/a/blobs/uploads/?digest={large_digest}");
    server.request_as_alice("POST", &whole, &[], &large).expect_registry_error(503, "UNAVAILABLE");
    let upload = begin_upload(&server, "a");
    server.request_as_alice("PATCH", &upload, &[], &large).expect_registry_error(503, "UNAVAILABLE");
    let offset = server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset();
    assert!(offset <= large.len());
    server
        .request_as_alice("PUT", &format!("{upload}?digest={large_digest}"), &[], &large[offset..])
        .expect_registry_error(503, "UNAVAILABLE");

    server
        .request_as_alice("GET", &format!("/v2/a/blobs/{large_digest}"), &[], b"")
        .expect_registry_error(404, "BLOB_UNKNOWN");
    assert_pulls(&server, "a", &kept_digest, &kept);
    server.request_as_alice("GET", "/v2/_catalog", &[], b"").expect(200);
    everything_visible_is_whole(&stage);
    no_temporary_file_is_left(&server);
    server.assert_serving();
    assert!(server.log().contains("no space left"), "the administrator should read why:\n{}", server.log());

    disk.make_space();
    let offset = server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset();
    server.request_as_alice("PUT", &format!("{upload}?digest={large_digest}"), &[], &large[offset..]).expect(201);
    assert_pulls(&server, "a", &large_digest, &large);
    everything_visible_is_whole(&stage);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_chunk_whose_end_does_not_fit_gives_back_the_space_that_its_beginning_took() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "16m");
    let server = stage.start();
    let upload = begin_upload(&server, "a");
    disk.fill_except((4 << 20) + (64 << 10));
    server
        .request_as_alice("PATCH", &upload, &[], &random_bytes((4 << 20) + (300 << 10)))
        .expect_registry_error(503, "UNAVAILABLE");
    push_blob(&server, "b", &random_bytes(3 << 20));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_refused_chunk_gives_back_the_space_that_it_took() {
    let stage = ServerDir::new();
    let _disk = SmallDisk::mount(stage.path("data"), "8m");
    let server = stage.start();
    let upload = begin_upload(&server, "a");
    server.request_as_alice("PATCH", &upload, &[], &random_bytes(12 << 20)).expect_registry_error(503, "UNAVAILABLE");
    // Another small push still fits: bytes of a refused chunk do not occupy the disk.
    push_blob(&server, "b", &random_bytes(4 << 20));
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_full_disk_keeps_nobody_from_reading_and_is_told_by_the_readiness_check() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "1m");
    let server = stage.start();
    server.request("GET", "/readyz", &[], b"").expect(200);
    disk.fill_except(0);
    server.request("GET", "/healthz", &[], b"").expect(200);
    server.request_as_alice("POST", "/v2/a/blobs/uploads/", &[], b"").expect_registry_error(503, "UNAVAILABLE");
    assert_ready_status(&server, 503);
    disk.make_space();
    begin_upload(&server, "a");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn wherever_the_disk_runs_full_a_manifest_is_there_whole_or_not_at_all() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "2m");
    let server = stage.start();
    let config = push_blob(&server, "a", b"{}");
    let old = manifest_of(&config, 2, 5000);
    server.request_as_alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], &old).expect(201);
    let (mut refused, mut taken) = (0, 0);
    // Every step of a put needs a page or two; the disk becomes full before each of the steps in turn.
    for pages in 0..14 {
        let new = manifest_of(&config, 2, 9000 + pages);
        let new_digest = digest(&new);
        disk.fill_except(pages * 4096);
        let answer = server.request_as_alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], &new);
        let current = server.request_as_alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200);
        let by_digest = server.request_as_alice("GET", &format!("/v2/a/manifests/{new_digest}"), &[], b"");
        if answer.status == 201 {
            taken += 1;
            assert!(current.body == new, "acknowledged is visible");
        } else {
            refused += 1;
            answer.expect_registry_error(503, "UNAVAILABLE");
            let is_whole =
                current.body == new || digest(&current.body) == current.header("docker-content-digest").unwrap();
            assert!(is_whole, "the tag should mean one manifest or the other");
            assert!(by_digest.status == 404 || by_digest.body == new, "{by_digest}");
        }
        everything_visible_is_whole(&stage);
        no_temporary_file_is_left(&server);
        disk.make_space();
        server.request_as_alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], &new).expect(201);
        assert!(server.request_as_alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200).body == new);
    }
    assert!(refused > 2 && taken > 2, "{refused} refused, {taken} taken: the test should meet both");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_disk_that_becomes_read_only_refuses_pushes_and_serves_pulls() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "4m");
    let server = stage.start();
    let content = random_bytes(100_000);
    let blob = push_blob(&server, "a", &content);
    let config = push_blob(&server, "a", b"{}");
    let manifest = manifest_of(&config, 2, 0);
    server.request_as_alice("PUT", "/v2/a/manifests/latest", &[MANIFEST], &manifest).expect(201);
    let upload = begin_upload(&server, "a");
    disk.remount("ro");

    let other = manifest_of(&config, 2, 1);
    for (method, path, body) in [
        ("POST", "/v2/a/blobs/uploads/".to_owned(), b"".as_slice()),
        ("POST", format!("/v2/a/blobs/uploads/?digest={}", digest(b"x")), b"x"),
        ("POST", format!("/v2/b/blobs/uploads/?mount={blob}&from=a"), b""),
        ("PATCH", upload.clone(), b"x"),
        ("PUT", format!("{upload}?digest={}", digest(b"x")), b"x"),
        ("DELETE", upload.clone(), b""),
        ("PUT", "/v2/a/manifests/other".to_owned(), &other),
        ("DELETE", "/v2/a/manifests/latest".to_owned(), b""),
        ("DELETE", format!("/v2/a/blobs/{blob}"), b""),
    ] {
        server.request_as_alice(method, &path, &[MANIFEST], body).expect_registry_error(503, "UNAVAILABLE");
    }
    assert_pulls(&server, "a", &blob, &content);
    assert!(server.request_as_alice("GET", "/v2/a/manifests/latest", &[], b"").expect(200).body == manifest);
    server.request_as_alice("GET", "/v2/a/tags/list", &[], b"").expect(200);
    assert_ready_status(&server, 503);
    everything_visible_is_whole(&stage);

    disk.remount("rw");
    server.request_as_alice("PUT", &format!("{upload}?digest={}", digest(b"x")), &[], b"x").expect(201);
    server.request_as_alice("DELETE", "/v2/a/manifests/latest", &[], b"").expect(202);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_server_does_not_start_on_a_disk_that_it_cannot_write() {
    let stage = ServerDir::new();
    let disk = SmallDisk::mount(stage.path("data"), "1m");
    disk.remount("ro");
    let refused = stage.portcullis_command().arg("serve").run_failing();
    assert!(refused.stderr.contains("error: data folder: "), "{refused}");
    assert!(refused.stderr.contains("hint: "), "{refused}");
    let checked = stage.portcullis_command().arg("check").run_failing();
    assert!(checked.stderr.contains("error: data folder data: "), "{checked}");
}

#[test]
fn an_upload_whose_link_could_not_be_written_is_closed_by_the_same_request_later() {
    let stage = ServerDir::new();
    let server = stage.start();
    let content = random_bytes(100_000);
    let digest = digest(&content);
    for (repository, split) in [("nothing/before", 0), ("a/part/before", 60_000), ("all/before", content.len())] {
        let upload = begin_upload(&server, repository);
        if split > 0 {
            server.request_as_alice("PATCH", &upload, &[], &content[..split]).expect(202);
        }
        // A file is in the place of the directory of links.
        let layers = stage.path("data/docker/registry/v2/repositories").join(repository).join("_layers");
        fs::write(&layers, "in the way").unwrap();
        let closing = format!("{upload}?digest={digest}");
        assert!(server.request_as_alice("PUT", &closing, &[], &content[split..]).status >= 500);
        server
            .request_as_alice("GET", &format!("/v2/{repository}/blobs/{digest}"), &[], b"")
            .expect_registry_error(404, "BLOB_UNKNOWN");

        fs::remove_file(&layers).unwrap();
        let offset = server.request_as_alice("GET", &upload, &[], b"").expect(204).range_offset();
        assert!((split..=content.len()).contains(&offset), "{offset} after {split}");
        server.request_as_alice("PUT", &closing, &[], &content[split..]).expect(201);
        assert_pulls(&server, repository, &digest, &content);
        server.request_as_alice("GET", &upload, &[], b"").expect_registry_error(404, "BLOB_UPLOAD_UNKNOWN");
    }
}
