//! Tests `portcullis repository`, beside a running server and without one.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use portcullis::storage;
use serde_json::{Value, json};

use crate::support::{
    PortcullisServer, ServerDir, ToolCommand, make_old,
    oci_layout::digest,
    portcullis_server::{ALICE, BINARY, portcullis_command},
    registry_client::RegistryClient,
};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Settings with which garbage is collected without delay.
const COLLECT_AT_ONCE: [(&str, &str); 3] = [
    ("PORTCULLIS_REGISTRY__GC__GRACE", "1s"),
    ("PORTCULLIS_REGISTRY__GC__TRASH", "0s"),
    ("PORTCULLIS_REGISTRY__GC__INTERVAL", "off"),
];

fn serve(data: &Path) -> (PortcullisServer, RegistryClient) {
    let stage = ServerDir::new().with_data(data);
    let server = COLLECT_AT_ONCE.into_iter().fold(stage, |stage, (name, value)| stage.with_env(name, value)).start();
    let client = RegistryClient::new(&server).with_user(&ALICE).with_basic_authorization();
    (server, client)
}

fn portcullis(data: &Path, words: &[&str]) -> ToolCommand {
    let tool = portcullis_command()
        .folder(data.parent().unwrap())
        .env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", data)
        .args(words);
    COLLECT_AT_ONCE.into_iter().fold(tool, |tool, (name, value)| tool.env(name, value))
}

fn push(client: &RegistryClient, name: &str, tag: &str, layer: &[u8]) {
    let blob = |bytes: &[u8]| {
        let digest = digest(bytes);
        client.post(&format!("/v2/{name}/blobs/uploads/?digest={digest}")).body(bytes).send().expect(201);
        json!({"mediaType": "application/octet-stream", "digest": digest, "size": bytes.len()})
    };
    let image: Value =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": blob(b"{}"), "layers": [blob(layer)]});
    let put = client.put(&format!("/v2/{name}/manifests/{tag}")).header("content-type", MANIFEST);
    put.body(image.to_string().as_bytes()).send().expect(201);
}

fn assert_whole(client: &RegistryClient, name: &str, tag: &str) {
    let image = client.get(&format!("/v2/{name}/manifests/{tag}")).send().expect(200).json();
    for blob in [&image["config"], &image["layers"][0]] {
        let found = blob["digest"].as_str().unwrap();
        let bytes = client.get(&format!("/v2/{name}/blobs/{found}")).send().expect(200).body;
        assert_eq!(digest(&bytes), found);
    }
}

/// The number of bytes in blobs and in the trash.
fn bytes(data: &Path) -> u64 {
    fn sum(folder: &Path) -> u64 {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let size = |entry: fs::DirEntry| {
            if entry.path().is_dir() { sum(&entry.path()) } else { entry.metadata().map_or(0, |found| found.len()) }
        };
        entries.map(size).sum()
    }
    sum(&data.join("docker/registry/v2/blobs")) + sum(&data.join("portcullis/trash"))
}

/// Collects until the trash is empty too.
fn collect(data: &Path) {
    for _ in 0..2 {
        make_old(data);
        portcullis(data, &["gc"]).run_ok();
    }
}

#[test]
fn beside_a_server_the_server_removes_it_and_garbage_collection_gives_the_space_back() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (server, client) = serve(&data);
    let (own, shared) = (vec![1; 2_000_000], vec![2; 1_000_000]);
    push(&client, "team/app", "own", &own);
    push(&client, "team/app", "shared", &shared);
    for neighbour in ["team/app/sub", "team/other"] {
        push(&client, neighbour, "shared", &shared);
    }
    let listed = portcullis(&data, &["repository", "list"]).run_ok();
    assert_eq!(listed.stdout, "team/app\nteam/app/sub\nteam/other\n");

    let removed = portcullis(&data, &["repository", "remove", "team/app", "--yes"]).run_ok();
    assert_eq!(removed.stdout, "team/app: removed 2 tags, 2 manifests, 3 layers\n");
    assert!(removed.stderr.contains("portcullis gc"), "{removed}");
    assert!(server.log().contains("repository removed"), "the server did it:\n{}", server.log());
    assert_eq!(portcullis(&data, &["repository", "list"]).run_ok().stdout, "team/app/sub\nteam/other\n");
    client.get("/v2/team/app/tags/list").send().expect_error(404, "NAME_UNKNOWN");
    assert!(!data.join("docker/registry/v2/repositories/team/app/_layers").exists());

    assert!(bytes(&data) > 3_000_000, "only a collection gives space back");
    collect(&data);
    assert!((1_000_000..1_100_000).contains(&bytes(&data)), "{} bytes are left", bytes(&data));
    for neighbour in ["team/app/sub", "team/other"] {
        assert_whole(&client, neighbour, "shared");
    }
    push(&client, "team/app", "again", &own);
    assert_whole(&client, "team/app", "again");
}

#[test]
fn without_a_server_the_command_removes_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (server, client) = serve(&data);
    push(&client, "gone", "v1", &vec![1; 2_000_000]);
    push(&client, "stays", "v1", b"small");
    drop((server, client));

    let in_folder =
        || portcullis_command().folder(folder.path()).args(["repository", "remove", "gone", "--yes", "--data", "data"]);
    assert_eq!(in_folder().run_ok().stdout, "gone: removed 1 tag, 1 manifest, 2 layers\n");
    in_folder().run_failing().assert_prints_one_of(&["repository gone is not known"]).assert_prints_one_of(&["hint: "]);
    collect(&data);
    assert!(bytes(&data) < 10_000, "{} bytes are left", bytes(&data));
    let (_server, client) = serve(&data);
    assert_whole(&client, "stays", "v1");
    assert_eq!(client.get("/v2/_catalog").send().expect(200).json(), json!({"repositories": ["stays"]}));
}

#[test]
fn without_a_terminal_a_removal_must_be_meant() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (_server, client) = serve(&data);
    push(&client, "team/app", "v1", b"layer");
    for answer in ["", "team/app\n", "y\n"] {
        let refused = portcullis(&data, &["repository", "remove", "team/app"]).input(answer).run_failing();
        assert!(refused.stderr.contains("--yes") && refused.stdout.is_empty(), "{refused}");
    }
    for name in ["team", "team/app/v1", "not/there"] {
        portcullis(&data, &["repository", "remove", name, "--yes"])
            .run_failing()
            .assert_prints_one_of(&["is not known"]);
    }
    for name in ["", "..", "/", "team/app/../app", "Team/app", "team/app:v1", "_manifests", "*", "**"] {
        portcullis(&data, &["repository", "remove", name, "--yes"])
            .run_failing()
            .assert_prints_one_of(&["repository name"]);
    }
    assert_whole(&client, "team/app", "v1");
}

#[test]
fn a_data_folder_that_is_not_there_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("mistyped");
    portcullis(&data, &["repository", "list"]).run_failing().assert_prints_one_of(&["there is no data folder"]);
    portcullis(&data, &["repository", "remove", "a", "--yes"])
        .run_failing()
        .assert_prints_one_of(&["there is no data folder"]);
    assert!(!data.exists());
}

#[test]
fn while_another_command_has_the_data_folder_the_removal_waits_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (server, client) = serve(&data);
    push(&client, "a", "v1", b"layer");
    drop((server, client));

    let claim = storage::lock_data_dir(&data, &[]).unwrap().expect("the lock is free");
    let mut removing = Command::new(BINARY);
    removing.args(["repository", "remove", "a", "--yes", "--data"]).arg(&data).current_dir(folder.path());
    let mut removing = removing.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    BufReader::new(removing.stderr.take().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("waiting for the portcullis that uses "), "{said}");
    let link = data.join("docker/registry/v2/repositories/a/_manifests/tags/v1/current/link");
    assert!(link.exists(), "nothing is removed while another process holds the lock");
    drop(claim);
    let removed = removing.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&removed.stdout), "a: removed 1 tag, 1 manifest, 2 layers\n");
    assert!(!link.exists());
}
