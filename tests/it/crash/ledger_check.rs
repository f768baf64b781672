//! Checks the data after a kill against the ledger: everything acknowledged is there, and nothing is half there.
//!
//! Invariant: a value that is found is compared with the ledger and then recorded in it, so that it must be found
//! again from then on.

use std::collections::HashSet;

use serde_json::Value;

use super::GcPolicy;
use super::ledger::{Ledger, LedgerUpload, Register, UploadState};
use super::worker::{blob_name, blobs_of, children_of, manifest_name};
use crate::support::PortcullisServer;
use crate::support::oci_layout::digest;
use crate::support::portcullis_server::ALICE;
use crate::support::seeded_random::SeededRandom;
use crate::support::server_dir::basic_authorization;
use crate::support::wire_connection::{WireConnection, WireResponse, request};

pub(super) struct LedgerCheck<'a> {
    wire: WireConnection,
    alice: String,
    policy: GcPolicy,
    ledger: &'a Ledger,
    chance: &'a mut SeededRandom,
    /// Manifests that were checked together with everything below them.
    whole: HashSet<(String, String)>,
}

impl<'a> LedgerCheck<'a> {
    pub(super) fn new(
        server: &PortcullisServer,
        policy: GcPolicy,
        ledger: &'a Ledger,
        chance: &'a mut SeededRandom,
    ) -> Self {
        Self {
            wire: server.connect(),
            alice: basic_authorization(&ALICE),
            policy,
            ledger,
            chance,
            whole: HashSet::new(),
        }
    }

    /// Checks everything that was written after `moment`.
    pub(super) fn everything_since(&mut self, moment: u64) {
        for (location, upload) in self.ledger.uploads() {
            self.upload(&location, &upload);
        }
        let names = self.ledger.registers_written_since(moment);
        // Tags first: what they reach must exist, whatever the garbage collection removes.
        for name in names.iter().filter(|name| matches!(name, Register::Tag { .. })) {
            self.tag(name);
        }
        for name in &names {
            match name {
                Register::Tag { .. } => {}
                Register::Manifest { .. } => self.manifest(name),
                Register::Blob { .. } => self.blob(name),
            }
        }
    }

    fn ask(&mut self, method: &str, path: &str, header: &[&str], body: &[u8]) -> WireResponse {
        self.wire.send(&request(method, path, &[&[self.alice.as_str()], header].concat(), body));
        self.wire.response_to(method)
    }

    fn get(&mut self, path: &str) -> Option<WireResponse> {
        let answer = self.ask("GET", path, &[], b"");
        if answer.status == 404 { None } else { Some(answer.expect(200)) }
    }

    /// Asserts that the value is possible. If garbage is collected, content that no tag reaches may be gone.
    fn settle(&mut self, name: &Register, found: Option<String>) {
        let possible = self.ledger.possible(name);
        let may_be_garbage = self.policy.collects() && !matches!(name, Register::Tag { .. });
        let is_right = possible.contains(&found) || (found.is_none() && may_be_garbage);
        assert!(is_right, "{name:?} is {found:?}, and should be one of {possible:?}");
        self.ledger.settle(name, found);
    }

    fn tag(&mut self, name: &Register) {
        let Register::Tag { repository, tag } = name else { return };
        let Some(answer) = self.get(&format!("/v2/{repository}/manifests/{tag}")) else {
            return self.settle(name, None);
        };
        let image = answer.header("docker-content-digest").unwrap().to_owned();
        self.settle(name, Some(image.clone()));
        assert!(answer.body == self.ledger.document(&image), "{name:?} should be {image}");
        self.is_whole(repository, &image).unwrap_or_else(|missing| panic!("{name:?} is {image}: {missing}"));
    }

    fn manifest(&mut self, name: &Register) {
        let Register::Manifest { repository, digest } = name else { return };
        if self.get(&format!("/v2/{repository}/manifests/{digest}")).is_none() {
            return self.settle(name, None);
        }
        self.settle(name, Some(digest.clone()));
        if let Err(missing) = self.is_whole(repository, digest) {
            let is_gone = self.get(&format!("/v2/{repository}/manifests/{digest}")).is_none();
            assert!(is_gone && self.policy.collects(), "{name:?} is there, but {missing}");
            self.settle(name, None);
        }
    }

    /// Asserts that everything that a manifest needs exists, byte for byte, and that its subject lists it as a
    /// referrer.
    fn is_whole(&mut self, repository: &str, image: &str) -> Result<(), String> {
        if !self.whole.insert((repository.to_owned(), image.to_owned())) {
            return Ok(());
        }
        let missing = |what: &str| format!("{what} is missing");
        let found = self.get(&format!("/v2/{repository}/manifests/{image}")).ok_or_else(|| missing(image))?;
        assert!(found.body == self.ledger.document(image), "{repository}: {image} has other bytes");
        let possible = self.ledger.possible(&manifest_name(repository, image));
        assert!(possible.contains(&Some(image.to_owned())), "{repository}: {image} was deleted and is served");
        let document: Value = found.json();
        for blob in blobs_of(&document) {
            let found = self.get(&format!("/v2/{repository}/blobs/{blob}")).ok_or_else(|| missing(&blob))?;
            assert_eq!(digest(&found.body), blob, "in {repository}");
        }
        for child in children_of(&document) {
            self.is_whole(repository, &child)?;
        }
        match document["subject"]["digest"].as_str() {
            Some(subject) if !self.referrers(repository, subject).contains(&image.to_owned()) => {
                Err(format!("{subject} does not list it"))
            }
            _ => Ok(()),
        }
    }

    fn referrers(&mut self, repository: &str, subject: &str) -> Vec<String> {
        let answer = self.ask("GET", &format!("/v2/{repository}/referrers/{subject}"), &[], b"").expect(200);
        children_of(&answer.json())
    }

    fn blob(&mut self, name: &Register) {
        let Register::Blob { repository, digest: blob } = name else { return };
        let found = self.get(&format!("/v2/{repository}/blobs/{blob}"));
        if let Some(answer) = &found {
            assert_eq!(digest(&answer.body), *blob, "in {repository}");
        }
        self.settle(name, found.map(|_| blob.clone()));
    }

    /// Continues an interrupted upload at the offset that the server reports, unless it was completed.
    fn upload(&mut self, location: &str, upload: &LedgerUpload) {
        let LedgerUpload { repository, digest: blob, content, acknowledged, sent, fate } = upload;
        let answer = self.ask("GET", location, &[], b"");
        self.ledger.upload_ended(location);
        if answer.status == 404 {
            match fate {
                UploadState::Open => {
                    panic!("{location} was acknowledged up to byte {acknowledged}, and is gone: {answer}")
                }
                UploadState::Cancelling => {}
                // It was completed; the blob is checked with all the others.
                UploadState::Closing if self.policy.collects() => {}
                UploadState::Closing => {
                    let found = self.get(&format!("/v2/{repository}/blobs/{blob}"));
                    assert_eq!(digest(&found.expect("a closed upload is a blob").body), *blob);
                }
            }
            return;
        }
        let offset = answer.expect(204).range_offset();
        assert!(
            (*acknowledged..=*sent).contains(&offset),
            "{location} is at byte {offset}, between {acknowledged} and {sent}"
        );
        let mut rest = &content[offset..];
        if !rest.is_empty() && self.chance.one_in(2) {
            let range = format!("Content-Range: {offset}-{}", content.len() - 1);
            self.ask("PATCH", location, &[&range], rest).expect(202);
            rest = &[];
        }
        self.ask("PUT", &format!("{location}?digest={blob}"), &[], rest).expect(201);
        let found = self.get(&format!("/v2/{repository}/blobs/{blob}")).expect("acknowledged a moment ago");
        assert!(found.body == *content, "{blob} should have the bytes that were sent");
        self.ledger.settle(&blob_name(repository, blob), Some(blob.clone()));
    }
}
