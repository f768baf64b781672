//! Tests garbage collection by the command, beside a server that receives pushes.

use std::{path::Path, time::Duration};

use super::skopeo::Skopeo;
use crate::support::{
    PortcullisServer, ServerDir, ToolCommand, eventually, make_old,
    oci_layout::{OciLayout, digest},
    portcullis_server::portcullis_command,
};

/// A server that removes untagged manifests without delay, and collects by itself at this interval.
fn collecting_at_once(interval: &str) -> PortcullisServer {
    let gc = format!("interval = \"{interval}\"\ngrace = \"3s\"\ntrash = \"0s\"\nuntagged = \"1s\"");
    ServerDir::new().with_configuration(&format!("[registry.gc]\n{gc}")).start()
}

pub(super) fn bytes_of_blobs(server: &PortcullisServer) -> u64 {
    fn sum(folder: &Path) -> u64 {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries
            .map(|entry| {
                if entry.path().is_dir() { sum(&entry.path()) } else { entry.metadata().map_or(0, |found| found.len()) }
            })
            .sum()
    }
    sum(&server.data())
}

fn gc(server: &PortcullisServer) -> ToolCommand {
    server.stage.portcullis_command().arg("gc")
}

#[test]
fn a_tag_that_moved_on_gives_the_space_of_its_old_image_back() {
    let server = collecting_at_once("1s");
    let skopeo = Skopeo::signed_in(&server);
    let (old, new) =
        (OciLayout::image(&skopeo.folder("old"), &[3_000_000]), OciLayout::image(&skopeo.folder("new"), &[1_000_000]));
    let remote = skopeo.remote("team/app:latest");
    skopeo.copy(&old.reference(), &remote).run_ok();
    skopeo.copy(&new.reference(), &remote).run_ok();
    assert!(bytes_of_blobs(&server) > 4_000_000);
    let is_smaller = || bytes_of_blobs(&server) < 1_200_000;
    assert!(eventually(Duration::from_secs(30), is_smaller), "{} bytes are left", bytes_of_blobs(&server));
    skopeo.copy(&remote, &format!("dir:{}", skopeo.folder("back").display())).run_ok();
}

#[test]
fn the_command_has_the_running_server_collect_and_pushes_go_on() {
    let server = collecting_at_once("off");
    let skopeo = Skopeo::signed_in(&server);
    let image = OciLayout::image(&skopeo.folder("image"), &[2_000_000]);
    skopeo.copy(&image.reference(), &skopeo.remote("gone:1")).run_ok();
    let delete =
        ToolCommand::new("skopeo").env("HOME", skopeo.folder("")).env("REGISTRY_AUTH_FILE", skopeo.folder("auth.json"));
    delete.args(["delete", "--cert-dir"]).arg(server.ca_dir()).arg(skopeo.remote("gone:1")).run_ok();
    make_old(&server.data());

    let planned = gc(&server).arg("--dry-run").run_ok();
    planned.assert_prints_one_of(&["no manifest of the repository refers to it"]);
    assert!(bytes_of_blobs(&server) > 2_000_000, "a dry run takes nothing");

    let other = OciLayout::image(&skopeo.folder("other"), &[10_000]);
    let pushing = skopeo.copy(&other.reference(), &skopeo.remote("kept:1"));
    let pusher = std::thread::spawn(move || pushing.run_ok().stdout);
    gc(&server).run_ok().assert_prints_one_of(&["items were removed"]);
    pusher.join().unwrap();
    // Content that the first run moved to the trash is removed in the next.
    gc(&server).run_ok();
    assert!(bytes_of_blobs(&server) < 100_000, "{} bytes are left", bytes_of_blobs(&server));
    assert!(server.log().contains("garbage collected"), "the server did it:\n{}", server.log());
    let raw =
        ToolCommand::new("skopeo").env("HOME", skopeo.folder("")).env("REGISTRY_AUTH_FILE", skopeo.folder("auth.json"));
    let raw = raw.args(["inspect", "--raw", "--cert-dir"]).arg(server.ca_dir()).arg(skopeo.remote("kept:1"));
    assert_eq!(digest(raw.run_ok().stdout.as_bytes()), other.digest);
}

#[test]
fn fsck_finds_a_flipped_byte_and_a_repair_puts_it_away() {
    let (server, folder) = (PortcullisServer::start(), tempfile::tempdir().unwrap());
    let image = OciLayout::image(&folder.path().join("image"), &[50_000]);
    let push = |server: &PortcullisServer| {
        let skopeo = Skopeo::signed_in(server);
        skopeo.copy(&image.reference(), &skopeo.remote("a:1")).run_ok();
    };
    push(&server);
    let fsck = || server.stage.portcullis_command().arg("fsck");
    fsck().run_ok().assert_prints_one_of(&["\"findings\":[]"]);

    let blobs = server.data().join("docker/registry/v2/blobs/sha256");
    let manifest = blobs.join(&image.digest[7..9]).join(&image.digest[7..]).join("data");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    fsck().run_failing().assert_prints_one_of(&["wrong-bytes"]);
    let (repair, data) = (fsck().arg("--repair"), server.data());
    let server = server.restart_after(|| {
        repair.run_failing().assert_prints_one_of(&["wrong-bytes"]);
        assert!(!manifest.exists());
        assert!(data.join("portcullis/quarantine").join(manifest.strip_prefix(&data).unwrap()).exists(), "it is kept");
    });

    push(&server);
    let data = server.data();
    portcullis_command().args(["fsck", "--data"]).arg(&data).folder(data.parent().unwrap()).run_ok();
}
