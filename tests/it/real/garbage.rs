//! Tests garbage collection by the command, beside a server that receives pushes.

use std::{path::Path, time::Duration};

use super::skopeo::Skopeo;
use crate::support::{
    Portcullis, Setup, Tool, eventually,
    image::{Layout, digest},
    portcullis::cli,
};

/// A server setup that removes untagged manifests without delay.
fn impatient() -> Setup {
    let setup = Setup::new().env("PORTCULLIS_REGISTRY__GC__GRACE", "3s").env("PORTCULLIS_REGISTRY__GC__TRASH", "0s");
    setup.env("PORTCULLIS_REGISTRY__GC__UNTAGGED", "1s")
}

pub(super) fn bytes_of_blobs(server: &Portcullis) -> u64 {
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

fn gc(server: &Portcullis) -> Tool {
    let data = server.data();
    let command = cli().arg("gc").folder(data.parent().unwrap()).env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", &data);
    let command = command.env("PORTCULLIS_REGISTRY__GC__GRACE", "3s").env("PORTCULLIS_REGISTRY__GC__TRASH", "0s");
    command.env("PORTCULLIS_REGISTRY__GC__UNTAGGED", "1s")
}

#[test]
fn a_tag_that_moved_on_gives_the_space_of_its_old_image_back() {
    let server = impatient().env("PORTCULLIS_REGISTRY__GC__INTERVAL", "1s").start();
    let skopeo = Skopeo::signed_in(&server);
    let (old, new) =
        (Layout::image(&skopeo.folder("old"), &[3_000_000]), Layout::image(&skopeo.folder("new"), &[1_000_000]));
    let remote = skopeo.remote("team/app:latest");
    skopeo.copy(&old.reference(), &remote).succeeds();
    skopeo.copy(&new.reference(), &remote).succeeds();
    assert!(bytes_of_blobs(&server) > 4_000_000);
    let is_smaller = || bytes_of_blobs(&server) < 1_200_000;
    assert!(eventually(Duration::from_secs(30), is_smaller), "{} bytes are left", bytes_of_blobs(&server));
    skopeo.copy(&remote, &format!("dir:{}", skopeo.folder("back").display())).succeeds();
}

#[test]
fn the_command_has_the_running_server_collect_and_pushes_go_on() {
    let server = impatient().env("PORTCULLIS_REGISTRY__GC__INTERVAL", "off").start();
    let skopeo = Skopeo::signed_in(&server);
    let image = Layout::image(&skopeo.folder("image"), &[2_000_000]);
    skopeo.copy(&image.reference(), &skopeo.remote("gone:1")).succeeds();
    let delete =
        Tool::new("skopeo").env("HOME", skopeo.folder("")).env("REGISTRY_AUTH_FILE", skopeo.folder("auth.json"));
    delete.args(["delete", "--cert-dir"]).arg(server.trust()).arg(skopeo.remote("gone:1")).succeeds();
    std::thread::sleep(Duration::from_secs(4));

    let planned = gc(&server).arg("--dry-run").succeeds();
    planned.says_one_of(&["no manifest of the repository refers to it"]);
    assert!(bytes_of_blobs(&server) > 2_000_000, "a dry run takes nothing");

    let other = Layout::image(&skopeo.folder("other"), &[10_000]);
    let pushing = skopeo.copy(&other.reference(), &skopeo.remote("kept:1"));
    let pusher = std::thread::spawn(move || pushing.succeeds().stdout);
    gc(&server).succeeds().says_one_of(&["items were removed"]);
    pusher.join().unwrap();
    // Content that the first run moved to the trash is removed in the next.
    gc(&server).succeeds();
    assert!(bytes_of_blobs(&server) < 100_000, "{} bytes are left", bytes_of_blobs(&server));
    assert!(server.log().contains("garbage collected"), "the server did it:\n{}", server.log());
    let raw = Tool::new("skopeo").env("HOME", skopeo.folder("")).env("REGISTRY_AUTH_FILE", skopeo.folder("auth.json"));
    let raw = raw.args(["inspect", "--raw", "--cert-dir"]).arg(server.trust()).arg(skopeo.remote("kept:1"));
    assert_eq!(digest(raw.succeeds().stdout.as_bytes()), other.digest);
}

#[test]
fn fsck_finds_a_flipped_byte_and_a_repair_puts_it_away() {
    let (server, folder) = (Portcullis::start(), tempfile::tempdir().unwrap());
    let image = Layout::image(&folder.path().join("image"), &[50_000]);
    let push = |server: &Portcullis| {
        let skopeo = Skopeo::signed_in(server);
        skopeo.copy(&image.reference(), &skopeo.remote("a:1")).succeeds();
    };
    push(&server);
    let fsck = || {
        let data = server.data();
        cli().arg("fsck").folder(data.parent().unwrap()).env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", &data)
    };
    fsck().succeeds().says_one_of(&["\"findings\":[]"]);

    let blobs = server.data().join("docker/registry/v2/blobs/sha256");
    let manifest = blobs.join(&image.digest[7..9]).join(&image.digest[7..]).join("data");
    let mut bytes = std::fs::read(&manifest).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&manifest, bytes).unwrap();
    fsck().fails().says_one_of(&["wrong-bytes"]);
    let (repair, data) = (fsck().arg("--repair"), server.data());
    let server = server.restart_after(|| {
        repair.fails().says_one_of(&["wrong-bytes"]);
        assert!(!manifest.exists());
        assert!(data.join("portcullis/quarantine").join(manifest.strip_prefix(&data).unwrap()).exists(), "it is kept");
    });

    push(&server);
    let data = server.data();
    cli().args(["fsck", "--data"]).arg(&data).folder(data.parent().unwrap()).succeeds();
}
