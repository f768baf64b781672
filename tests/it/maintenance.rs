//! Tests `gc` and `fsck`: which data they work on, and how they run beside a server and beside each other.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use crate::support::oci_layout::digest;
use crate::support::portcullis_server::{ALICE, BINARY, portcullis_command};
use crate::support::registry_client::RegistryClient;
use crate::support::{PortcullisServer, ServerDir, ToolCommand};

fn tool(server: &PortcullisServer, command: &str) -> ToolCommand {
    portcullis_command().folder(server.users().parent().unwrap()).arg(command).arg("--data").arg(server.data())
}

fn push(server: &PortcullisServer, name: &str, content: &[u8]) -> String {
    let digest = digest(content);
    let client = RegistryClient::new(server).with_user(&ALICE).with_basic_authorization();
    client.post(&format!("/v2/{name}/blobs/uploads/?digest={digest}")).body(content).send().expect(201);
    digest
}

fn blob(root: &Path, digest: &str) -> PathBuf {
    root.join("docker/registry/v2/blobs/sha256").join(&digest[7..9]).join(&digest[7..]).join("data")
}

#[test]
fn a_check_beside_a_server_that_is_being_pushed_to_reports_nothing() {
    let (server, is_over, pushed) = (PortcullisServer::start(), AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let pushing = scope.spawn(|| {
            for number in 0.. {
                push(&server, &format!("r{}", number % 3), format!("content {number}").as_bytes());
                pushed.store(number + 1, Ordering::SeqCst);
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let mut checks = Vec::new();
        // Each check runs beside pushes; a push that fails ends the wait as well.
        for _ in 0..3 {
            let before = pushed.load(Ordering::SeqCst);
            checks.push(tool(&server, "fsck").run());
            while pushed.load(Ordering::SeqCst) == before && !pushing.is_finished() {
                std::thread::yield_now();
            }
        }
        is_over.store(true, Ordering::SeqCst);
        pushing.join().unwrap();
        for check in checks {
            assert!(check.is_success(), "{check}");
            check.assert_prints_one_of(&["\"findings\":[]"]);
        }
    });
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let expected = ["flag", "variable", "file", "data"];
    for (number, root) in expected.iter().enumerate() {
        // Each data directory can be recognised by the number of its blobs.
        for content in 0..=number {
            let content = content.to_string();
            let path = blob(&folder.path().join(root), &digest(content.as_bytes()));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    let configuration = folder.path().join("portcullis.toml");
    fs::write(&configuration, "[storage.filesystem]\nroot = \"file\"\n").unwrap();
    let examined = |number: usize, tool: ToolCommand| {
        tool.run_ok().assert_prints_one_of(&[&format!("\"blobs\":{},", number + 1)]);
    };
    let variable = |command: &str| {
        portcullis_command().folder(folder.path()).arg(command).env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", "variable")
    };
    examined(0, variable("fsck").args(["--data", "flag"]));
    examined(1, variable("fsck"));
    examined(2, portcullis_command().folder(folder.path()).arg("fsck"));
    let lock = |root: &str| folder.path().join(root).join("portcullis/lock").exists();
    variable("gc").args(["--data", "flag"]).run_ok();
    assert!(lock("flag") && !lock("variable") && !lock("file"));
    fs::remove_file(configuration).unwrap();
    examined(3, portcullis_command().folder(folder.path()).arg("fsck"));
}

#[test]
fn a_data_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["fsck"][..], &["fsck", "--repair"], &["gc"], &["gc", "--dry-run"]] {
        let refused = portcullis_command().folder(folder.path()).args(arguments).args(["--data", "typo"]).run_failing();
        assert!(refused.stderr.contains("typo") && refused.stderr.contains("--data DIR"), "{}", refused.stderr);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn while_a_command_changes_the_data_no_server_begins_and_other_commands_wait_or_refuse() {
    let stage = ServerDir::new();
    fs::create_dir_all(stage.path("data")).unwrap();
    // The lock that `gc` and `fsck --repair` hold while they run.
    let claim = portcullis::storage::lock_data_dir(&stage.path("data"), &[]).unwrap().unwrap();
    for arguments in [&["serve"][..], &["fsck", "--repair"]] {
        let refused = stage.portcullis_command().args(arguments).run_failing();
        assert!(refused.stderr.contains("another portcullis is using it\nhint: "), "{}", refused.stderr);
    }
    stage.portcullis_command().args(["gc", "--dry-run"]).run_ok();
    let mut collecting = Command::new(BINARY);
    collecting.current_dir(stage.folder()).arg("gc").stdout(Stdio::null()).stderr(Stdio::piped());
    let mut collecting = collecting.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(collecting.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("waiting for the portcullis that uses data"), "{said}");
    drop(claim);
    assert!(collecting.wait().unwrap().success());
    stage.portcullis_command().args(["fsck", "--repair"]).run_ok();
}

#[test]
fn garbage_is_collected_by_the_server_or_without_one_by_the_command() {
    let server = PortcullisServer::start();
    let path = push_for_nothing(&server, b"unused");
    tool(&server, "gc").run_ok().assert_prints_one_of(&["2 items were removed"]);
    assert!(server.log().contains("garbage collected"), "{}", server.log());
    assert!(!path.exists());

    let (path, alone) = (push_for_nothing(&server, b"unused as well"), tool(&server, "gc"));
    server.restart_after(|| {
        alone.run_ok().assert_prints_one_of(&["2 items were removed"]);
        assert!(!path.exists());
    });
}

/// Pushes a blob that was not accessed for days, and returns its file.
fn push_for_nothing(server: &PortcullisServer, content: &[u8]) -> PathBuf {
    let digest = push(server, "a", content);
    let link = server.data().join("docker/registry/v2/repositories/a/_layers/sha256").join(&digest[7..]).join("link");
    let path = blob(&server.data(), &digest);
    for file in [&link, &path] {
        let days_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
        fs::File::open(file).unwrap().set_modified(days_ago).unwrap();
    }
    path
}

#[test]
fn a_manifest_whose_bytes_are_gone_is_deleted_by_its_digest_and_its_tag_is_not_listed_any_more() {
    let server = PortcullisServer::start();
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    let index = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let digest = digest(index);
    for reference in ["1", digest.as_str()] {
        let put = client.put(&format!("/v2/a/manifests/{reference}"));
        put.header("content-type", "application/vnd.oci.image.index.v1+json").body(index).send().expect(201);
    }
    fs::remove_file(blob(&server.data(), &digest)).unwrap();
    let tags = || client.get("/v2/a/tags/list").send();
    assert_eq!(tags().expect(200).json()["tags"], serde_json::json!(["1"]));
    client.delete(&format!("/v2/a/manifests/{digest}")).send().expect(202);
    client.delete(&format!("/v2/a/manifests/{digest}")).send().expect(404);
    tags().expect_error(404, "NAME_UNKNOWN");
}
