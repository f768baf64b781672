//! Records what clients requested and what the server acknowledged, and derives what may be found after a crash.
//!
//! Invariant: everything that can be read back is a register. An acknowledged write happened between its begin and
//! its end; a write that was in flight when the server died happened or did not. The possible values of a register
//! follow from that alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A register: something that can be read back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Register {
    Blob { repository: String, digest: String },
    Manifest { repository: String, digest: String },
    Tag { repository: String, tag: String },
}

/// The content of a register: a digest, or nothing.
pub(super) type RegisterValue = Option<String>;

#[derive(Debug)]
struct RegisterWrite {
    value: RegisterValue,
    begun: u64,
    /// `None` if the outcome of the write is unknown.
    ended: Option<u64>,
}

/// The writes of one request.
#[must_use = "a request ends with an acknowledgement, with a refusal, or with the server"]
pub(super) struct PendingWrites {
    names: Vec<Register>,
    begun: u64,
}

/// The state of an upload, as far as its client can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadState {
    Open,
    Closing,
    Cancelling,
}

/// An upload that was begun and whose end is unknown.
#[derive(Clone, Debug)]
pub(super) struct LedgerUpload {
    pub(super) repository: String,
    pub(super) digest: String,
    pub(super) content: Vec<u8>,
    pub(super) acknowledged: usize,
    pub(super) sent: usize,
    pub(super) fate: UploadState,
}

#[derive(Default)]
struct LedgerContent {
    clock: u64,
    registers: BTreeMap<Register, Vec<RegisterWrite>>,
    /// Every manifest that was ever put, by its digest.
    documents: HashMap<String, Vec<u8>>,
    /// The uploads, by their locations.
    uploads: BTreeMap<String, LedgerUpload>,
}

/// The ledger that all clients share.
#[derive(Default)]
pub(super) struct Ledger(Mutex<LedgerContent>);

impl Ledger {
    fn lock(&self) -> MutexGuard<'_, LedgerContent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the writes of a request, before it is sent.
    pub(super) fn begin(&self, writes: Vec<(Register, RegisterValue)>) -> PendingWrites {
        let mut book = self.lock();
        book.clock += 1;
        let begun = book.clock;
        for (name, value) in writes.clone() {
            book.registers.entry(name).or_default().push(RegisterWrite { value, begun, ended: None });
        }
        PendingWrites { names: writes.into_iter().map(|(name, _)| name).collect(), begun }
    }

    /// Records that the server acknowledged the writes.
    pub(super) fn acknowledged(&self, ticket: &PendingWrites) {
        let mut book = self.lock();
        book.clock += 1;
        let now = book.clock;
        for name in &ticket.names {
            let writes = book.registers.get_mut(name).unwrap();
            writes.iter_mut().filter(|write| write.begun == ticket.begun).for_each(|write| write.ended = Some(now));
        }
    }

    /// Records that the server refused the writes.
    pub(super) fn refused(&self, ticket: &PendingWrites) {
        let mut book = self.lock();
        for name in &ticket.names {
            book.registers.get_mut(name).unwrap().retain(|write| write.begun != ticket.begun);
        }
    }

    /// The values that a register may hold now.
    pub(super) fn possible(&self, name: &Register) -> BTreeSet<RegisterValue> {
        let book = self.lock();
        let Some(writes) = book.registers.get(name) else { return BTreeSet::from([None]) };
        let never = RegisterWrite { value: None, begun: 0, ended: Some(0) };
        let is_past = |write: &RegisterWrite| {
            let Some(ended) = write.ended else { return false };
            writes.iter().any(|later| later.begun > ended && later.ended.is_some())
        };
        let all = std::iter::once(&never).chain(writes);
        all.filter(|write| !is_past(write)).map(|write| write.value.clone()).collect()
    }

    /// Records a value that was read: from now on, the register holds only this one.
    pub(super) fn settle(&self, name: &Register, value: RegisterValue) {
        let mut book = self.lock();
        book.clock += 1;
        let now = book.clock;
        book.registers.insert(name.clone(), vec![RegisterWrite { value, begun: now, ended: Some(now) }]);
    }

    /// The current time of the ledger, for [`registers_written_since`](Self::registers_written_since).
    pub(super) fn now(&self) -> u64 {
        self.lock().clock
    }

    /// All registers that were written after `moment`.
    pub(super) fn registers_written_since(&self, moment: u64) -> Vec<Register> {
        let book = self.lock();
        let is_new = |writes: &Vec<RegisterWrite>| writes.iter().any(|write| write.begun > moment);
        book.registers.iter().filter(|(_, writes)| is_new(writes)).map(|(name, _)| name.clone()).collect()
    }

    pub(super) fn keep_document(&self, digest: &str, document: &[u8]) {
        self.lock().documents.insert(digest.to_owned(), document.to_vec());
    }

    /// The bytes of a manifest that a client put; panics for any other, which the server must not serve.
    pub(super) fn document(&self, digest: &str) -> Vec<u8> {
        self.lock().documents.get(digest).unwrap_or_else(|| panic!("no client has put {digest}")).clone()
    }

    pub(super) fn upload_began(&self, location: &str, upload: LedgerUpload) {
        self.lock().uploads.insert(location.to_owned(), upload);
    }

    pub(super) fn update_upload(&self, location: &str, change: impl FnOnce(&mut LedgerUpload)) {
        change(self.lock().uploads.get_mut(location).unwrap());
    }

    pub(super) fn upload_ended(&self, location: &str) {
        self.lock().uploads.remove(location);
    }

    pub(super) fn uploads(&self) -> BTreeMap<String, LedgerUpload> {
        self.lock().uploads.clone()
    }
}

#[test]
fn a_write_that_was_in_flight_may_have_happened_and_an_acknowledged_one_has() {
    let ledger = Ledger::default();
    let tag = Register::Tag { repository: "a".to_owned(), tag: "1".to_owned() };
    let value = |text: &str| Some(text.to_owned());
    let write = |text: &str| ledger.begin(vec![(tag.clone(), value(text))]);
    assert_eq!(ledger.possible(&tag), BTreeSet::from([None]));
    ledger.acknowledged(&write("one"));
    assert_eq!(ledger.possible(&tag), BTreeSet::from([value("one")]));
    let (two, three) = (write("two"), write("three"));
    ledger.acknowledged(&two);
    assert_eq!(ledger.possible(&tag), BTreeSet::from([value("two"), value("three")]), "one of them was the last");
    ledger.acknowledged(&three);
    assert_eq!(ledger.possible(&tag), BTreeSet::from([value("two"), value("three")]), "and which one is still unknown");
    let _in_flight = write("four");
    ledger.refused(&write("five"));
    assert_eq!(ledger.possible(&tag), BTreeSet::from([value("two"), value("three"), value("four")]));
    ledger.settle(&tag, value("four"));
    ledger.acknowledged(&ledger.begin(vec![(tag.clone(), None)]));
    assert_eq!(ledger.possible(&tag), BTreeSet::from([None]));
}
