//! Tests what `fsck` reports of a data directory with every kind of damage, and what `--repair` makes of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::assert_golden;
use crate::support::ToolCommand;
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::portcullis_command;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const UPLOAD: &str = "11111111-2222-4333-8444-555555555555";
const EMPTY_UPLOAD: &str = "66666666-2222-4333-8444-555555555555";

/// A data directory, written by hand.
struct DamagedDataDir {
    folder: tempfile::TempDir,
}

impl DamagedDataDir {
    fn file(&self, path: &str, content: &[u8]) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// Writes a file whose last change was days ago.
    fn old(&self, path: &str, content: &[u8]) {
        let path = self.file(path, content);
        let days_ago = SystemTime::now() - Duration::from_secs(3 * 86_400);
        fs::File::open(path).unwrap().set_modified(days_ago).unwrap();
    }

    fn link(&self, path: &str, digest: &str) {
        self.file(&format!("{REPOSITORIES}/{path}/link"), digest.as_bytes());
    }

    fn blob(&self, content: &[u8]) -> String {
        let digest = digest(content);
        self.file(&blob(&digest), content);
        digest
    }

    fn layer(&self, content: &[u8]) -> String {
        let digest = self.blob(content);
        self.link(&format!("a/_layers/{}", slashed(&digest)), &digest);
        digest
    }

    fn manifest(&self, document: &[u8]) -> String {
        let digest = self.blob(document);
        self.link(&format!("a/_manifests/revisions/{}", slashed(&digest)), &digest);
        digest
    }

    fn tag(&self, tag: &str, digest: &str) {
        self.link(&format!("a/_manifests/tags/{tag}/current"), digest);
    }

    fn fsck(&self) -> ToolCommand {
        portcullis_command().folder(self.folder.path()).args(["fsck", "--data", "."])
    }
}

const REPOSITORIES: &str = "docker/registry/v2/repositories";

fn slashed(digest: &str) -> String {
    digest.replace(':', "/")
}

fn blob(digest: &str) -> String {
    let hex = &digest[7..];
    format!("docker/registry/v2/blobs/sha256/{}/{hex}/data", &hex[..2])
}

fn image(config: &str, layers: &[&str], subject: Option<&str>) -> Vec<u8> {
    let entry = |digest: &str| json!({"mediaType": "application/octet-stream", "digest": digest, "size": 2});
    let layers: Vec<Value> = layers.iter().map(|layer| entry(layer)).collect();
    let mut image = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(config), "layers": layers});
    if let Some(subject) = subject {
        image["subject"] = entry(subject);
    }
    image.to_string().into_bytes()
}

/// A data directory with one damage of each kind.
fn every_damage() -> DamagedDataDir {
    let data = DamagedDataDir { folder: tempfile::tempdir().unwrap() };
    let config = data.layer(b"{}");
    let sound = data.manifest(&image(&config, &[], None));
    data.tag("sound", &sound);

    let rotten = data.layer(b"a layer");
    data.file(&blob(&rotten), b"a l\0yer");
    let unreadable = data.layer(b"a bad sector");
    fs::remove_file(data.folder.path().join(blob(&unreadable))).unwrap();
    symlink("data", data.folder.path().join(blob(&unreadable))).unwrap();
    data.tag("rotten", &data.manifest(&image(&config, &[&rotten, &unreadable], None)));

    let gone = data.manifest(&image(&config, &[], Some(&sound)));
    data.tag("gone", &gone);
    data.link(&format!("a/_referrers/{}/{}", slashed(&sound), slashed(&gone)), &gone);
    fs::remove_file(data.folder.path().join(blob(&gone))).unwrap();
    data.manifest(&image(&config, &[], Some(&rotten)));
    data.manifest(b"not a manifest");
    data.tag("empty", "");
    let empty = data.layer(b"its link is empty");
    data.link(&format!("a/_layers/{}", slashed(&empty)), "");

    fs::create_dir_all(data.folder.path().join(format!("{REPOSITORIES}/b/_layers"))).unwrap();
    symlink("_uploads", data.folder.path().join(format!("{REPOSITORIES}/b/_uploads"))).unwrap();

    data.old(&blob(&digest(b"orphan")), b"orphan");
    data.old(&format!("portcullis/trash/{}", slashed(&digest(b"discarded"))), b"something else");
    data.old("portcullis/trash/stray", b"");
    data.old(&format!("{REPOSITORIES}/a/_uploads/{UPLOAD}/data"), b"half");
    fs::create_dir_all(data.folder.path().join(format!("{REPOSITORIES}/a/_uploads/{EMPTY_UPLOAD}/hashstates/sha256")))
        .unwrap();
    data.old("portcullis/tmp/77777777-2222-4333-8444-555555555555", b"ha");
    data.file("portcullis/tmp/88888888-2222-4333-8444-555555555555", b"of a running server");
    data
}

/// The report with one finding per line.
fn report(text: &str) -> String {
    let report: Value = serde_json::from_str(text).unwrap();
    let findings: Vec<String> = report["findings"].as_array().unwrap().iter().map(Value::to_string).collect();
    format!("{}\n{} blobs, {} bytes\n", findings.join("\n"), report["blobs"], report["bytes"])
}

fn files(root: &Path) -> BTreeSet<String> {
    let (mut files, mut folders) = (BTreeSet::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                files.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    files
}

#[test]
fn every_damage_is_named_and_a_repair_deals_with_it() {
    let data = every_damage();
    let before = files(data.folder.path());
    let found = data.fsck().run_failing();
    assert_eq!(files(data.folder.path()), before, "a check changes nothing");
    let mut text = format!("$ portcullis fsck\n{}", report(&found.stdout));

    let repaired = data.fsck().arg("--repair").run_failing();
    writeln!(text, "\n$ portcullis fsck --repair\n{}", report(&repaired.stdout)).unwrap();
    let after = files(data.folder.path());
    for file in before.symmetric_difference(&after) {
        writeln!(text, "{} {file}", if before.contains(file) { '-' } else { '+' }).unwrap();
    }
    write!(text, "\n$ portcullis fsck\n{}", report(&data.fsck().run_failing().stdout)).unwrap();
    assert_golden("fsck.txt", &text);
}

#[test]
fn every_damage_is_in_the_table_of_its_page() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fsck.md")).unwrap();
    let data = every_damage();
    data.file(&format!("{REPOSITORIES}/UPPER/_layers/x"), b"");
    let report: Value = serde_json::from_str(&data.fsck().run_failing().stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let kinds: BTreeSet<&str> = findings.iter().map(|finding| finding["damage"].as_str().unwrap()).collect();
    assert_eq!(kinds.len(), 18, "each of them is there: {kinds:?}");
    for kind in kinds {
        assert!(page.contains(&format!("\n| `{kind}` |")), "{kind}");
    }
}
