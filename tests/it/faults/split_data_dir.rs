//! Tests data directories of which a part is on another disk, and dangling symbolic links.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::full_disk::{SmallDisk, assert_ready_status};
use super::{assert_pulls, begin_upload, push_blob};
use crate::support::ServerDir;

const V2: &str = "data/docker/registry/v2";

/// Asserts that `check` fails with these words, and gives a hint with those.
#[track_caller]
fn assert_check_reports(stage: &ServerDir, words: &str, hint: &str) {
    let output = stage.portcullis_command().arg("check").run_failing();
    let mut lines =
        output.stderr.lines().skip_while(|line| !(line.starts_with("error: data folder") && line.contains(words)));
    assert!(lines.next().is_some(), "{words}: {output}");
    assert!(lines.next().is_some_and(|line| line.starts_with("hint: ") && line.contains(hint)), "{hint}: {output}");
}

/// Pushes a blob with a server that then ends; returns the blob's digest and content.
fn used_store(stage: &ServerDir) -> (String, Vec<u8>) {
    let server = stage.start();
    let content = b"content".to_vec();
    (push_blob(&server, "a", &content), content)
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn blobs_or_repositories_on_another_disk_are_told_by_check_and_by_the_readiness_check() {
    for (folder, name) in [("blobs", "docker/registry/v2/blobs"), ("repositories", "docker/registry/v2/repositories")] {
        let stage = ServerDir::new();
        let (blob, content) = used_store(&stage);
        let whole = stage.portcullis_command().arg("check").run_ok();
        assert!(!whole.stderr.contains("file system"), "{whole}");
        let (place, aside) = (stage.path(V2).join(folder), stage.path("aside"));
        fs::rename(&place, &aside).unwrap();
        let _disk = SmallDisk::mount(place.clone(), "4m");
        copy(&aside, &place);

        let words = format!("{name} is on another file system than portcullis/tmp, and files cannot be moved");
        assert_check_reports(&stage, &words, "keep the whole data folder on one file system");
        let server = stage.start();
        assert!(server.log().contains(&words), "{}", server.log());
        assert_ready_status(&server, 503);
        let output = server.request("GET", "/readyz", &[], b"").expect(503);
        let output = String::from_utf8_lossy(&output.body);
        assert!(output.contains(&words) && !output.contains(stage.folder().to_str().unwrap()), "{output}");
        server.request("GET", "/healthz", &[], b"").expect(200);
        assert_pulls(&server, "a", &blob, &content);
    }
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn blobs_that_are_a_link_to_another_disk_are_told_with_its_target_and_a_link_on_the_same_disk_is_fine() {
    let stage = ServerDir::new();
    used_store(&stage);
    let (place, aside) = (stage.path(V2).join("blobs"), stage.path("aside"));
    fs::rename(&place, &aside).unwrap();
    symlink(&aside, &place).unwrap();
    stage.portcullis_command().arg("check").run_ok();
    {
        let server = stage.start();
        push_blob(&server, "b", b"to the same disk");
        assert_ready_status(&server, 200);
    }
    let disk = SmallDisk::mount(stage.path("other"), "4m");
    copy(&aside, &stage.path("other/blobs"));
    fs::remove_file(&place).unwrap();
    symlink(stage.path("other/blobs"), &place).unwrap();
    let target = format!("the folder is a link to {}", stage.path("other/blobs").display());
    assert_check_reports(&stage, &target, "mount or link the data folder itself");
    drop(disk);
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_mount_of_the_same_disk_is_another_one_to_the_kernel() {
    let stage = ServerDir::new();
    used_store(&stage);
    let place = stage.path(V2).join("blobs/sha256");
    let _mount = SmallDisk::bind(place.clone(), &place);
    assert_check_reports(&stage, "docker/registry/v2/blobs/sha256 is on another file system", "one file system");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn the_folder_of_our_own_on_another_disk_is_told() {
    let stage = ServerDir::new();
    used_store(&stage);
    fs::remove_dir_all(stage.path("data/portcullis")).unwrap();
    let _disk = SmallDisk::mount(stage.path("data/portcullis"), "4m");
    assert_check_reports(&stage, "docker/registry/v2", "one file system");
}

#[test]
#[cfg_attr(not(feature = "real-parts"), ignore = "needs root or other programs; `make test` runs it")]
fn a_data_folder_on_one_other_disk_is_as_good_as_any() {
    let stage = ServerDir::new();
    let _disk = SmallDisk::mount(stage.path("disk"), "8m");
    symlink(stage.path("disk"), stage.path("data")).unwrap();
    stage.portcullis_command().arg("check").run();
    let server = stage.start();
    begin_upload(&server, "a");
    assert_ready_status(&server, 200);
    let output = stage.portcullis_command().arg("check").run();
    assert!(!output.stderr.contains("file system") && !output.stderr.contains("error: data folder"), "{output}");
}

#[test]
fn a_link_into_nowhere_as_the_data_folder_is_named_as_such() {
    let stage = ServerDir::new();
    symlink("/nowhere/at-all", stage.path("data")).unwrap();
    let words = "data is a symbolic link to /nowhere/at-all, which does not exist";
    assert_check_reports(&stage, words, "mount or create the target of the link");
    let refused = stage.portcullis_command().arg("serve").run_failing();
    assert!(refused.stderr.contains("error: data folder: ") && refused.stderr.contains(words), "{refused}");

    let stage = ServerDir::new();
    used_store(&stage);
    let blobs = stage.path(V2).join("blobs");
    fs::rename(&blobs, stage.path("aside")).unwrap();
    symlink("/nowhere/at-all", &blobs).unwrap();
    assert_check_reports(&stage, "v2/blobs is a symbolic link to /nowhere/at-all", "or remove the link");
}

/// Copies a directory recursively.
fn copy(from: &PathBuf, to: &PathBuf) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs::copy(&source, &target).unwrap();
        }
    }
}
