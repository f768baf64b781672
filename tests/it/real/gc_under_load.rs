//! Tests continuous garbage collection under concurrent pushes, pulls, mounts and deletions.
//!
//! Invariant: a client that pushes within the grace, pulls what a tag refers to, or mounts what a tag reaches never
//! fails because of a collection; and everything unreferenced is removed from the disk in the end.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use super::gc_command::bytes_of_blobs;
use super::skopeo::Skopeo;
use crate::support::oci_layout::{OciLayout, digest, random_bytes};
use crate::support::portcullis_server::ALICE;
use crate::support::registry_client::RegistryClient;
use crate::support::{PortcullisServer, ServerDir, eventually};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How often every client succeeds with its work before the load ends.
const ROUNDS: usize = 6;

/// How many collections each of the two collectors makes that remove something before the load ends.
const COLLECTIONS: usize = 3;

/// The number of collectors.
const COLLECTORS: usize = 2;

/// The number of clients and collectors together.
const WORKERS: usize = 3 * COLLECTORS + 3;

/// The grace: only content that was not accessed for this long may be collected.
const GRACE: Duration = Duration::from_secs(3);

/// The manifests that each tag has referred to, by repository and tag; the last is the newest.
type Tags = Mutex<BTreeMap<(String, String), Vec<String>>>;

struct GcLoadTest {
    server: PortcullisServer,
    tags: Tags,
    /// The number of collections that have ended.
    collections: AtomicUsize,
    /// The clients and collectors that have not done their share yet.
    unfinished: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the work of all when one of them fails.
struct EndOnPanic<'a>(&'a GcLoadTest);

impl Drop for EndOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.is_over.store(true, Ordering::SeqCst);
        }
    }
}

impl GcLoadTest {
    fn new() -> Self {
        let gc = "[registry.gc]\ninterval = \"1s\"\ngrace = \"3s\"\ntrash = \"0s\"\nuntagged = \"1s\"";
        Self {
            server: ServerDir::new().with_configuration(gc).start(),
            tags: Tags::default(),
            collections: AtomicUsize::new(0),
            unfinished: AtomicUsize::new(WORKERS),
            is_over: AtomicBool::new(false),
        }
    }

    fn client(&self) -> RegistryClient {
        RegistryClient::new(&self.server).with_user(&ALICE).with_basic_authorization()
    }

    /// Repeats `work`, which returns whether it succeeded, until it has succeeded `rounds` times and every other worker
    /// has done its share too.
    fn repeat(&self, rounds: usize, mut work: impl FnMut(usize) -> bool) {
        let _end = EndOnPanic(self);
        let mut left = rounds;
        for round in 0.. {
            if work(round) && left > 0 {
                left -= 1;
                if left == 0 && self.unfinished.fetch_sub(1, Ordering::SeqCst) == 1 {
                    self.is_over.store(true, Ordering::SeqCst);
                }
            }
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
        }
    }

    /// Records a manifest, after the tag was set to it.
    fn record_tag(&self, repository: &str, tag: &str, manifest: &str) {
        let mut tags = self.tags.lock().unwrap();
        tags.entry((repository.to_owned(), tag.to_owned())).or_default().push(manifest.to_owned());
    }

    fn tagged(&self) -> Vec<(String, String)> {
        self.tags.lock().unwrap().keys().cloned().collect()
    }

    /// The manifests that a tag is known to have referred to.
    fn history(&self, repository: &str, tag: &str) -> Vec<String> {
        self.tags.lock().unwrap()[&(repository.to_owned(), tag.to_owned())].clone()
    }

    /// Makes the running server collect; `true` if there was garbage.
    fn collect(&self) -> bool {
        let said = self.server.stage.portcullis_command().arg("gc").run_ok().stdout;
        self.collections.fetch_add(1, Ordering::SeqCst);
        !said.contains("; 0 items were removed")
    }

    /// Waits until a collection has ended that began after this call.
    fn wait_for_collection(&self) {
        // Each collector may be in the middle of one that began before.
        let enough = self.collections.load(Ordering::SeqCst) + COLLECTORS + 1;
        let has_ended = || self.collections.load(Ordering::SeqCst) >= enough || self.is_over.load(Ordering::SeqCst);
        assert!(eventually(Duration::from_secs(60), has_ended), "the server should collect");
    }

    /// Makes the content of a repository look as if it had last been accessed this long ago. What was collected already
    /// stays so.
    fn set_back(&self, repository: &str, kind: &str, digest: &str, age: Duration) {
        let hex = &digest["sha256:".len()..];
        let registry = self.server.data().join("docker/registry/v2");
        for file in [
            registry.join(format!("repositories/{repository}/{kind}/sha256/{hex}/link")),
            registry.join(format!("blobs/sha256/{}/{hex}/data", &hex[..2])),
        ] {
            match File::options().append(true).open(file) {
                Ok(file) => file.set_modified(SystemTime::now() - age).unwrap(),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound),
            }
        }
    }
}

fn entry(digest: &str, size: usize) -> Value {
    json!({"mediaType": "application/octet-stream", "digest": digest, "size": size})
}

fn image_of(layers: &[Value]) -> String {
    json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(&digest(b"{}"), 2), "layers": layers}).to_string()
}

/// Pushes a blob as clients do: only if it is missing.
fn push_blob(client: &RegistryClient, repository: &str, content: &[u8]) -> Value {
    let digest = digest(content);
    if client.head(&format!("/v2/{repository}/blobs/{digest}")).send().status.as_u16() != 200 {
        client.post(&format!("/v2/{repository}/blobs/uploads/?digest={digest}")).body(content).send().expect(201);
    }
    entry(&digest, content.len())
}

/// Puts a manifest; false if it was refused, which is allowed only if its content was last accessed too long ago.
fn put(client: &RegistryClient, repository: &str, tag: &str, image: &str, looked: Instant) -> bool {
    let path = format!("/v2/{repository}/manifests/{tag}");
    let answer = client.put(&path).header("content-type", MANIFEST).body(image.as_bytes()).send();
    // An access renews a lease that is older than a quarter of the grace.
    if answer.status.as_u16() == 400 && looked.elapsed() > GRACE * 3 / 4 {
        return false;
    }
    answer.expect(201);
    true
}

/// Pulls an image completely. Its content must exist for the duration of the grace, with a tag or without.
fn pull(client: &RegistryClient, repository: &str, reference: &str) -> String {
    let began = Instant::now();
    let answer = client.get(&format!("/v2/{repository}/manifests/{reference}")).send().expect(200);
    let document = answer.json();
    for blob in document["layers"].as_array().unwrap().iter().chain([&document["config"]]) {
        let blob = blob["digest"].as_str().unwrap();
        let found = client.get(&format!("/v2/{repository}/blobs/{blob}")).send();
        if found.status.as_u16() == 404 && began.elapsed() > GRACE * 3 / 4 {
            break;
        }
        assert_eq!(digest(&found.expect(200).body), blob);
    }
    digest(&answer.body)
}

/// Pushes image after image, so that each tag moves.
fn push(house: &GcLoadTest, repository: &str) {
    let client = house.client();
    house.repeat(ROUNDS, |round| {
        let tag = format!("t{}", round % 3);
        let began = Instant::now();
        let layers = [
            push_blob(&client, repository, &random_bytes(200_000)),
            push_blob(&client, repository, b"the same for all"),
        ];
        push_blob(&client, repository, b"{}");
        let image = image_of(&layers);
        if !put(&client, repository, &tag, &image, began) {
            return false;
        }
        house.record_tag(repository, &tag, &digest(image.as_bytes()));
        assert_eq!(pull(&client, repository, &tag), digest(image.as_bytes()));
        true
    });
}

/// Pulls the images that others push.
fn pull_all(house: &GcLoadTest) {
    let client = house.client();
    house.repeat(ROUNDS, |_| {
        for (repository, tag) in house.tagged() {
            let before = house.history(&repository, &tag);
            let found = pull(&client, &repository, &tag);
            let old = &before[..before.len() - 1];
            assert!(!old.contains(&found), "{repository}:{tag} is {found}, and was something else already");
        }
        true
    });
}

/// Makes images of blobs mounted from another repository, and deletes them again.
fn mount(house: &GcLoadTest, layers: &[Value]) {
    let client = house.client();
    house.repeat(ROUNDS, |round| {
        let repository = format!("mounted/{}", round % 4);
        let began = Instant::now();
        for blob in layers.iter().chain([&entry(&digest(b"{}"), 2)]) {
            let path = format!("/v2/{repository}/blobs/uploads/?mount={}&from=base", blob["digest"].as_str().unwrap());
            client.post(&path).send().expect(201);
        }
        let image = image_of(layers);
        if !put(&client, &repository, "latest", &image, began) {
            return false;
        }
        assert_eq!(pull(&client, &repository, "latest"), digest(image.as_bytes()));
        client.delete(&format!("/v2/{repository}/manifests/latest")).send().expect(202);
        true
    });
}

/// Accesses a blob shortly before or after it may be collected, and refers to it if it still exists.
fn renew_lease(house: &GcLoadTest, number: usize) {
    let client = house.client();
    let repository = format!("renewed/{number}");
    house.repeat(ROUNDS, |round| {
        let (tag, content) = (format!("r{round}"), random_bytes(100_000));
        let layer = digest(&content);
        push_blob(&client, &repository, &content);
        let jitter = Duration::from_millis(100 * (round as u64 % 5));
        house.set_back(&repository, "_layers", &layer, GRACE * 9 / 10 + jitter);
        // From here on it has been accessed: found, or pushed once more.
        let began = Instant::now();
        let layers = [push_blob(&client, &repository, &content)];
        push_blob(&client, &repository, b"{}");
        let image = image_of(&layers);
        if !put(&client, &repository, &tag, &image, began) {
            return false;
        }
        // No other client pulls it yet. One that did would rely on the time of its access.
        house.set_back(&repository, "_layers", &layer, 2 * GRACE);
        house.set_back(&repository, "_manifests/revisions", &digest(image.as_bytes()), 2 * GRACE);
        house.wait_for_collection();
        assert_eq!(pull(&client, &repository, &tag), digest(image.as_bytes()));
        house.record_tag(&repository, &tag, &digest(image.as_bytes()));
        true
    });
}

fn copy_with_skopeo(house: &GcLoadTest, skopeo: &Skopeo<'_>) {
    house.repeat(ROUNDS, |round| {
        let image = OciLayout::image(&skopeo.folder(&format!("image{round}")), &[300_000, 5_000]);
        let remote = skopeo.remote("skopeo/app:latest");
        skopeo.copy(&image.reference(), &remote).run_ok();
        house.record_tag("skopeo/app", "latest", &image.digest);
        skopeo.copy(&remote, &format!("dir:{}", skopeo.folder(&format!("back{round}")).display())).run_ok();
        true
    });
}

#[test]
fn nobody_notices_that_garbage_is_collected_without_a_pause_and_the_space_comes_back() {
    let house = GcLoadTest::new();
    let client = house.client();
    let skopeo = Skopeo::signed_in(&house.server);
    let layers: Vec<Value> = (0..3).map(|_| push_blob(&client, "base", &random_bytes(50_000))).collect();
    push_blob(&client, "base", b"{}");
    assert!(put(&client, "base", "1", &image_of(&layers), Instant::now()));
    house.record_tag("base", "1", &digest(image_of(&layers).as_bytes()));

    thread::scope(|threads| {
        for number in 0..COLLECTORS {
            let house = &house;
            threads.spawn(|| house.repeat(COLLECTIONS, |_| house.collect()));
            threads.spawn(move || push(house, &format!("pushed/{number}")));
            threads.spawn(move || renew_lease(house, number));
        }
        threads.spawn(|| pull_all(&house));
        threads.spawn(|| mount(&house, &layers));
        threads.spawn(|| copy_with_skopeo(&house, &skopeo));
    });

    // All tagged images exist; now all but one are deleted.
    for ((repository, tag), images) in house.tags.lock().unwrap().iter() {
        assert_eq!(Some(&pull(&client, repository, tag)), images.last(), "{repository}:{tag}");
        if repository != "base" {
            client.delete(&format!("/v2/{repository}/manifests/{tag}")).send().expect(202);
        }
    }
    for number in 0..4 {
        client.delete(&format!("/v2/mounted/{number}/manifests/latest")).send();
    }
    let is_small = || bytes_of_blobs(&house.server) < 3 * 50_000 + 20_000;
    assert!(eventually(Duration::from_secs(30), is_small), "{} bytes are left", bytes_of_blobs(&house.server));
    pull(&client, "base", "1");
    assert!(!house.server.log().contains("panicked"), "{}", house.server.log());
}
