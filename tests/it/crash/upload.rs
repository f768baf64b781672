//! Uploads blobs in every way that clients use, for the random worker.

use super::connection::ServerKilled;
use super::ledger::{LedgerUpload, UploadState};
use super::worker::{RandomWorker, blob_name};
use crate::support::oci_layout::digest;

impl RandomWorker<'_> {
    /// Ensures a blob as most clients do: asks for it first, and pushes it if it is missing. Sometimes pushes without
    /// asking.
    pub(super) fn ensure_blob(&mut self, repository: &str, content: &[u8]) -> Result<(), ServerKilled> {
        let path = format!("/v2/{repository}/blobs/{}", digest(content));
        if !self.chance.one_in(4) && self.line.ask("HEAD", &path, &[], b"")?.status == 200 {
            return Ok(());
        }
        self.push_blob(repository, content)
    }

    pub(super) fn push_blob(&mut self, repository: &str, content: &[u8]) -> Result<(), ServerKilled> {
        let digest = digest(content);
        let ticket = self.ledger.begin(vec![(blob_name(repository, &digest), Some(digest.clone()))]);
        match self.chance.below(3) {
            0 => {
                let path = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
                self.line.ask("POST", &path, &[], content)?.expect(201);
            }
            1 => {
                let location = self.begin(repository, content)?;
                self.close(&location, content, 0)?;
            }
            _ => {
                let location = self.begin(repository, content)?;
                let offset = self.send_chunks(&location, content)?;
                self.close(&location, content, offset)?;
            }
        }
        self.ledger.acknowledged(&ticket);
        Ok(())
    }

    /// Begins an upload and does not complete it; some of these are cancelled, the others stay open.
    pub(super) fn abandon_upload(&mut self) -> Result<(), ServerKilled> {
        let (repository, content) = (format!("uploads/{}", self.chance.below(3)), self.chance.content());
        let location = self.begin(&repository, &content)?;
        self.send_chunks(&location, &content)?;
        if self.chance.one_in(2) {
            self.ledger.update_upload(&location, |upload| upload.fate = UploadState::Cancelling);
            self.line.ask("DELETE", &location, &[], b"")?.expect(204);
            self.ledger.upload_ended(&location);
        }
        Ok(())
    }

    fn begin(&mut self, repository: &str, content: &[u8]) -> Result<String, ServerKilled> {
        let answer = self.line.ask("POST", &format!("/v2/{repository}/blobs/uploads/"), &[], b"")?.expect(202);
        let location = answer.location().to_owned();
        let (repository, digest, content) = (repository.to_owned(), digest(content), content.to_vec());
        let upload = LedgerUpload { repository, digest, content, acknowledged: 0, sent: 0, fate: UploadState::Open };
        self.ledger.upload_began(&location, upload);
        Ok(location)
    }

    /// Sends a part of the content, or all of it; returns the length.
    fn send_chunks(&mut self, location: &str, content: &[u8]) -> Result<usize, ServerKilled> {
        let mut offset = 0;
        for _ in 0..=self.chance.below(3) {
            // Never a single byte: `Range: 0-0` means both one byte and none.
            let end = (offset + 2 + self.chance.below(content.len())).min(content.len());
            if end == offset {
                break;
            }
            self.ledger.update_upload(location, |upload| upload.sent = end);
            let range = format!("Content-Range: {offset}-{}", end - 1);
            let header: &[&str] = if self.chance.one_in(2) { &[&range] } else { &[] };
            let answer = self.line.ask("PATCH", location, header, &content[offset..end])?.expect(202);
            assert_eq!(answer.range_offset(), end);
            self.ledger.update_upload(location, |upload| upload.acknowledged = end);
            offset = end;
        }
        Ok(offset)
    }

    fn close(&mut self, location: &str, content: &[u8], offset: usize) -> Result<(), ServerKilled> {
        self.ledger.update_upload(location, |upload| {
            upload.sent = content.len();
            upload.fate = UploadState::Closing;
        });
        let closing = format!("{location}?digest={}", digest(content));
        self.line.ask("PUT", &closing, &[], &content[offset..])?.expect(201);
        self.ledger.upload_ended(location);
        Ok(())
    }
}
