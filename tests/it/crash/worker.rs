//! Performs random registry operations as a client until the server is killed.
//!
//! Invariant: a change is recorded in the ledger before the server receives it. Only one worker changes the
//! repositories of its own; all workers change `shared` and its tag `latest`.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::GcPolicy;
use super::connection::{KillableConnection, ServerKilled};
use super::kill_switch::KillSwitch;
use super::ledger::{Ledger, Register};
use crate::support::PortcullisServer;
use crate::support::oci_layout::digest;
use crate::support::seeded_random::SeededRandom;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const SHARED: &str = "shared";
const TAGS: [&str; 4] = ["latest", "1", "2", "3"];

pub(super) struct RandomWorker<'a> {
    pub(super) line: KillableConnection<'a>,
    pub(super) chance: SeededRandom,
    pub(super) ledger: &'a Ledger,
    policy: GcPolicy,
    repositories: [String; 2],
    /// The digests that its own tags refer to.
    tagged: BTreeMap<(String, String), String>,
    /// Blobs that no manifest refers to, with the time of their push.
    unreferenced: Vec<(String, String, Instant)>,
}

impl<'a> RandomWorker<'a> {
    pub(super) fn new(
        number: usize,
        policy: GcPolicy,
        chance: SeededRandom,
        ledger: &'a Ledger,
        server: &'a PortcullisServer,
        kill_switch: &'a KillSwitch<'a>,
    ) -> Self {
        let repositories = [format!("worker{number}/a"), format!("worker{number}/b/c")];
        let line = KillableConnection::new(server, kill_switch);
        let mut worker =
            Self { line, chance, ledger, policy, repositories, tagged: BTreeMap::new(), unreferenced: Vec::new() };
        worker.load_tags();
        worker
    }

    /// Takes over what the check after the last kill found of this worker's tags.
    fn load_tags(&mut self) {
        for repository in &self.repositories {
            for tag in TAGS {
                let name = Register::Tag { repository: repository.clone(), tag: tag.to_owned() };
                if let Some(Some(manifest)) = self.ledger.possible(&name).into_iter().next() {
                    self.tagged.insert((repository.clone(), tag.to_owned()), manifest);
                }
            }
        }
    }

    /// Works until the server is killed.
    pub(super) fn work(mut self) {
        while self.random_operation().is_ok() {}
    }

    fn random_operation(&mut self) -> Result<(), ServerKilled> {
        match self.chance.below(20) {
            0..=5 => self.push_image(),
            6 | 7 => self.push_index(),
            8 | 9 => self.push_referrer(),
            10 | 11 => self.move_shared_tag(),
            12 => self.tag_again(),
            13 => self.delete_tag(),
            14 => self.delete_manifest(),
            15 => self.push_loose_blob(),
            16 => self.delete_loose_blob(),
            17 => self.abandon_upload(),
            _ => self.pull(),
        }
    }

    fn repository(&mut self) -> String {
        self.repositories[self.chance.below(2)].clone()
    }

    fn own_tag(&mut self) -> String {
        TAGS[self.chance.below(TAGS.len())].to_owned()
    }

    /// Whether content that this worker last accessed at that time may be garbage by now. An access renews a lease
    /// that is older than a quarter of the grace, so at least three quarters of the grace are guaranteed.
    fn may_be_gone(&self, looked: Instant) -> bool {
        self.policy.grace() * 3 / 4 <= looked.elapsed()
    }

    fn push_image(&mut self) -> Result<(), ServerKilled> {
        let (repository, tag) = (self.repository(), self.own_tag());
        let began = Instant::now();
        let image = self.image(&repository, None)?;
        if self.put(&repository, &image, &[&tag], began)? {
            self.tagged.insert((repository, tag), digest(&image));
        }
        Ok(())
    }

    /// Ensures the blobs of an image, by push or mount, and returns its manifest, not yet put.
    fn image(&mut self, repository: &str, subject: Option<Value>) -> Result<Vec<u8>, ServerKilled> {
        let entry = |digest: &str, size: usize| json!({"mediaType": "application/octet-stream", "digest": digest, "size": size});
        // Every worker uses this blob, and they push it at the same time.
        self.ensure_blob(repository, b"{}")?;
        let content = self.chance.content();
        self.push_blob(repository, &content)?;
        let mut layers = vec![entry(&digest(&content), content.len())];
        if self.chance.one_in(3)
            && let Some(layer) = self.mount(repository)?
        {
            layers.push(layer);
        }
        let mut document =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": entry(&digest(b"{}"), 2), "layers": layers});
        if let Some(subject) = subject {
            document["subject"] = subject;
        }
        Ok(document.to_string().into_bytes())
    }

    /// Mounts a layer of an image that is tagged in the worker's other repository.
    fn mount(&mut self, to: &str) -> Result<Option<Value>, ServerKilled> {
        let sources: Vec<_> = self.tagged.iter().filter(|((repository, _), _)| repository != to).collect();
        let sources: Vec<_> = sources.into_iter().map(|((from, _), image)| (from.clone(), image.clone())).collect();
        let Some((from, image)) = self.chance.pick(&sources) else { return Ok(None) };
        let document: Value = serde_json::from_slice(&self.ledger.document(&image)).unwrap();
        let Some(layer) = document["layers"].get(0).cloned() else { return Ok(None) };
        let blob = layer["digest"].as_str().unwrap().to_owned();
        let ticket = self.ledger.begin(vec![(blob_name(to, &blob), Some(blob.clone()))]);
        let path = format!("/v2/{to}/blobs/uploads/?mount={blob}&from={from}");
        // A tag reaches it, so it exists.
        self.line.ask("POST", &path, &[], b"")?.expect(201);
        self.ledger.acknowledged(&ticket);
        Ok(Some(layer))
    }

    fn push_index(&mut self) -> Result<(), ServerKilled> {
        let (repository, tag) = (self.repository(), self.own_tag());
        let began = Instant::now();
        let mut children = Vec::new();
        for _ in 0..2 {
            let image = self.image(&repository, None)?;
            if !self.put(&repository, &image, &[], began)? {
                return Ok(());
            }
            children.push(json!({"mediaType": MANIFEST, "digest": digest(&image), "size": image.len()}));
        }
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).to_string().into_bytes();
        if self.put(&repository, &index, &[&tag], began)? {
            self.tagged.insert((repository, tag), digest(&index));
        }
        Ok(())
    }

    fn push_referrer(&mut self) -> Result<(), ServerKilled> {
        let all: Vec<_> =
            self.tagged.iter().map(|((repository, _), image)| (repository.clone(), image.clone())).collect();
        let Some((repository, image)) = self.chance.pick(&all) else { return Ok(()) };
        let size = self.ledger.document(&image).len();
        let began = Instant::now();
        let subject = json!({"mediaType": MANIFEST, "digest": image, "size": size});
        let signature = self.image(&repository, Some(subject))?;
        self.put(&repository, &signature, &[], began).map(|_| ())
    }

    /// Moves the tag that all workers share.
    fn move_shared_tag(&mut self) -> Result<(), ServerKilled> {
        if self.chance.one_in(6) {
            let name = Register::Tag { repository: SHARED.to_owned(), tag: "latest".to_owned() };
            let ticket = self.ledger.begin(vec![(name, None)]);
            let answer = self.line.ask("DELETE", &format!("/v2/{SHARED}/manifests/latest"), &[], b"")?;
            if answer.status == 404 {
                self.ledger.refused(&ticket);
            } else {
                answer.expect(202);
                self.ledger.acknowledged(&ticket);
            }
            return Ok(());
        }
        let began = Instant::now();
        let image = self.image(SHARED, None)?;
        self.put(SHARED, &image, &["latest"], began).map(|_| ())
    }

    /// Sets another tag on an image that is tagged already.
    fn tag_again(&mut self) -> Result<(), ServerKilled> {
        let all: Vec<_> =
            self.tagged.iter().map(|((repository, _), image)| (repository.clone(), image.clone())).collect();
        let Some((repository, image)) = self.chance.pick(&all) else { return Ok(()) };
        let (document, tags) = (self.ledger.document(&image), [self.own_tag(), self.own_tag()]);
        let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
        assert!(self.put(&repository, &document, &tags, Instant::now())?, "a tag has kept everything that it needs");
        self.tagged.extend(tags.iter().map(|tag| ((repository.clone(), (*tag).to_owned()), image.clone())));
        Ok(())
    }

    /// Puts a manifest; false if it is refused because content that it refers to was pushed so long ago that it may
    /// be garbage.
    fn put(&mut self, repository: &str, document: &[u8], tags: &[&str], began: Instant) -> Result<bool, ServerKilled> {
        let digest = digest(document);
        self.ledger.keep_document(&digest, document);
        let tag_name = |tag: &&str| Register::Tag { repository: repository.to_owned(), tag: (*tag).to_owned() };
        let mut names = vec![manifest_name(repository, &digest)];
        names.extend(tags.iter().map(tag_name));
        let ticket = self.ledger.begin(names.into_iter().map(|name| (name, Some(digest.clone()))).collect());
        let reference = match tags {
            [tag] if self.chance.one_in(2) => (*tag).to_owned(),
            _ => {
                let query: Vec<String> = tags.iter().map(|tag| format!("tag={tag}")).collect();
                format!("{digest}{}{}", if tags.is_empty() { "" } else { "?" }, query.join("&"))
            }
        };
        let media_type =
            if document.windows(INDEX.len()).any(|window| window == INDEX.as_bytes()) { INDEX } else { MANIFEST };
        let header = format!("Content-Type: {media_type}");
        let answer = self.line.ask("PUT", &format!("/v2/{repository}/manifests/{reference}"), &[&header], document)?;
        if answer.status == 400 && self.may_be_gone(began) {
            answer.expect_registry_error(400, "MANIFEST_BLOB_UNKNOWN");
            self.ledger.refused(&ticket);
            return Ok(false);
        }
        answer.expect(201);
        self.ledger.acknowledged(&ticket);
        Ok(true)
    }

    fn delete_tag(&mut self) -> Result<(), ServerKilled> {
        let all: Vec<_> = self.tagged.keys().cloned().collect();
        let Some((repository, tag)) = self.chance.pick(&all) else { return Ok(()) };
        self.tagged.remove(&(repository.clone(), tag.clone()));
        let path = format!("/v2/{repository}/manifests/{tag}");
        let ticket = self.ledger.begin(vec![(Register::Tag { repository, tag }, None)]);
        self.line.ask("DELETE", &path, &[], b"")?.expect(202);
        self.ledger.acknowledged(&ticket);
        Ok(())
    }

    /// Deletes a manifest with all tags that refer to it.
    fn delete_manifest(&mut self) -> Result<(), ServerKilled> {
        let all: Vec<_> =
            self.tagged.iter().map(|((repository, _), image)| (repository.clone(), image.clone())).collect();
        let Some((repository, image)) = self.chance.pick(&all) else { return Ok(()) };
        let mut writes = vec![(manifest_name(&repository, &image), None)];
        self.tagged.retain(|(other, tag), meaning| {
            let goes = *other == repository && *meaning == image;
            if goes {
                writes.push((Register::Tag { repository: other.clone(), tag: tag.clone() }, None));
            }
            !goes
        });
        let ticket = self.ledger.begin(writes);
        self.line.ask("DELETE", &format!("/v2/{repository}/manifests/{image}"), &[], b"")?.expect(202);
        self.ledger.acknowledged(&ticket);
        Ok(())
    }

    fn push_loose_blob(&mut self) -> Result<(), ServerKilled> {
        let (repository, content) = (self.repository(), self.chance.content());
        self.push_blob(&repository, &content)?;
        self.unreferenced.push((repository, digest(&content), Instant::now()));
        Ok(())
    }

    fn delete_loose_blob(&mut self) -> Result<(), ServerKilled> {
        let Some((repository, blob, pushed)) = self.unreferenced.pop() else { return Ok(()) };
        let ticket = self.ledger.begin(vec![(blob_name(&repository, &blob), None)]);
        let answer = self.line.ask("DELETE", &format!("/v2/{repository}/blobs/{blob}"), &[], b"")?;
        if answer.status == 404 && self.may_be_gone(pushed) {
            return Ok(());
        }
        answer.expect(202);
        self.ledger.acknowledged(&ticket);
        Ok(())
    }

    /// Pulls an image by one of its own tags: the tag must refer to what was put, and all of that must exist.
    fn pull(&mut self) -> Result<(), ServerKilled> {
        let all: Vec<_> = self.tagged.clone().into_iter().collect();
        let Some(((repository, tag), image)) = self.chance.pick(&all) else { return Ok(()) };
        let mut open = vec![(tag, image)];
        while let Some((reference, image)) = open.pop() {
            let answer =
                self.line.ask("GET", &format!("/v2/{repository}/manifests/{reference}"), &[], b"")?.expect(200);
            assert!(answer.body == self.ledger.document(&image), "{repository}: {reference} should be {image}");
            let document = answer.json();
            for blob in blobs_of(&document) {
                let answer = self.line.ask("GET", &format!("/v2/{repository}/blobs/{blob}"), &[], b"")?.expect(200);
                assert_eq!(digest(&answer.body), blob);
            }
            open.extend(children_of(&document).into_iter().map(|child| (child.clone(), child)));
        }
        Ok(())
    }
}

pub(super) fn blob_name(repository: &str, digest: &str) -> Register {
    Register::Blob { repository: repository.to_owned(), digest: digest.to_owned() }
}

pub(super) fn manifest_name(repository: &str, digest: &str) -> Register {
    Register::Manifest { repository: repository.to_owned(), digest: digest.to_owned() }
}

/// The blobs that a manifest refers to.
pub(super) fn blobs_of(document: &Value) -> Vec<String> {
    let layers = document["layers"].as_array().into_iter().flatten();
    let all = document.get("config").into_iter().chain(layers);
    all.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}

/// The manifests that an index refers to.
pub(super) fn children_of(document: &Value) -> Vec<String> {
    let children = document["manifests"].as_array().into_iter().flatten();
    children.map(|entry| entry["digest"].as_str().unwrap().to_owned()).collect()
}
