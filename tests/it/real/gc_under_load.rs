//! Tests continuous garbage collection under concurrent pushes, pulls, mounts and deletions.
//!
//! Invariant: a client that pushes within the grace, pulls what a tag refers to, or mounts what a tag reaches never
//! fails because of a collection; and everything unreferenced is removed from the disk in the end.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::gc_command::bytes_of_blobs;
use super::skopeo::Skopeo;
use crate::support::oci_layout::{OciLayout, digest, random_bytes};
use crate::support::portcullis_server::{ALICE, portcullis_command};
use crate::support::registry_client::RegistryClient;
use crate::support::{PortcullisServer, PortcullisSetup, eventually};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The duration of the test load.
const WORK: Duration = Duration::from_secs(12);

/// The grace: only content that was not accessed for this long may be collected.
const GRACE: Duration = Duration::from_secs(3);

/// The manifests that each tag has referred to, by repository and tag; the last is the newest.
type Tags = Mutex<BTreeMap<(String, String), Vec<String>>>;

struct GcLoadTest {
    server: PortcullisServer,
    tags: Tags,
    is_over: AtomicBool,
}

impl GcLoadTest {
    fn new() -> Self {
        let setup = [("INTERVAL", "1s"), ("GRACE", "3s"), ("TRASH", "0s"), ("UNTAGGED", "1s")];
        let setup = setup.iter().fold(PortcullisSetup::new(), |setup, (name, value)| {
            setup.env(&format!("PORTCULLIS_REGISTRY__GC__{name}"), *value)
        });
        Self { server: setup.start(), tags: Tags::default(), is_over: AtomicBool::new(false) }
    }

    fn client(&self) -> RegistryClient {
        RegistryClient::new(&self.server).with_user(&ALICE).with_basic_authorization()
    }

    fn is_running(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
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

    /// Makes the running server collect, over and over.
    fn collect(&self) {
        let data = self.server.data();
        while self.is_running() {
            let gc = portcullis_command().arg("gc").folder(data.parent().unwrap());
            gc.env("PORTCULLIS_STORAGE__FILESYSTEM__ROOT", &data).run_ok();
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
    for round in 0.. {
        let tag = format!("t{}", round % 3);
        let began = Instant::now();
        let layers = [
            push_blob(&client, repository, &random_bytes(200_000)),
            push_blob(&client, repository, b"the same for all"),
        ];
        push_blob(&client, repository, b"{}");
        let image = image_of(&layers);
        if !put(&client, repository, &tag, &image, began) {
            continue;
        }
        house.record_tag(repository, &tag, &digest(image.as_bytes()));
        assert_eq!(pull(&client, repository, &tag), digest(image.as_bytes()));
        if !house.is_running() {
            break;
        }
    }
}

/// Pulls the images that others push.
fn pull_all(house: &GcLoadTest) {
    let client = house.client();
    while house.is_running() {
        for (repository, tag) in house.tagged() {
            let before = house.history(&repository, &tag);
            let found = pull(&client, &repository, &tag);
            let old = &before[..before.len() - 1];
            assert!(!old.contains(&found), "{repository}:{tag} is {found}, and was something else already");
        }
    }
}

/// Makes images of blobs mounted from another repository, and deletes them again.
fn mount(house: &GcLoadTest, layers: &[Value]) {
    let client = house.client();
    for round in 0.. {
        let repository = format!("mounted/{}", round % 4);
        let began = Instant::now();
        for blob in layers.iter().chain([&entry(&digest(b"{}"), 2)]) {
            let path = format!("/v2/{repository}/blobs/uploads/?mount={}&from=base", blob["digest"].as_str().unwrap());
            client.post(&path).send().expect(201);
        }
        let image = image_of(layers);
        if !put(&client, &repository, "latest", &image, began) {
            continue;
        }
        assert_eq!(pull(&client, &repository, "latest"), digest(image.as_bytes()));
        if !house.is_running() {
            break;
        }
        client.delete(&format!("/v2/{repository}/manifests/latest")).send().expect(202);
    }
}

/// Accesses a blob shortly before it may be collected, and refers to it if it still exists.
fn renew_lease(house: &GcLoadTest, number: u64) {
    let client = house.client();
    let repository = format!("renewed/{number}");
    for round in 0.. {
        let content = random_bytes(100_000);
        push_blob(&client, &repository, &content);
        sleep(GRACE * 9 / 10 + Duration::from_millis(100 * (round % 5)));
        // From here on it has been accessed: found, or pushed once more.
        let began = Instant::now();
        let layers = [push_blob(&client, &repository, &content)];
        push_blob(&client, &repository, b"{}");
        let image = image_of(&layers);
        if !put(&client, &repository, "latest", &image, began) {
            continue;
        }
        house.record_tag(&repository, "latest", &digest(image.as_bytes()));
        sleep(GRACE);
        assert_eq!(pull(&client, &repository, "latest"), digest(image.as_bytes()));
        if !house.is_running() {
            break;
        }
    }
}

fn copy_with_skopeo(house: &GcLoadTest, skopeo: &Skopeo<'_>) {
    for round in 0.. {
        let image = OciLayout::image(&skopeo.folder(&format!("image{round}")), &[300_000, 5_000]);
        let remote = skopeo.remote("skopeo/app:latest");
        skopeo.copy(&image.reference(), &remote).run_ok();
        house.record_tag("skopeo/app", "latest", &image.digest);
        skopeo.copy(&remote, &format!("dir:{}", skopeo.folder(&format!("back{round}")).display())).run_ok();
        if !house.is_running() {
            break;
        }
    }
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
        for number in 0..2 {
            let house = &house;
            threads.spawn(|| house.collect());
            threads.spawn(move || push(house, &format!("pushed/{number}")));
            threads.spawn(move || renew_lease(house, number));
        }
        threads.spawn(|| pull_all(&house));
        threads.spawn(|| mount(&house, &layers));
        threads.spawn(|| copy_with_skopeo(&house, &skopeo));
        sleep(WORK);
        house.is_over.store(true, Ordering::Relaxed);
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
