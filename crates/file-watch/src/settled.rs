//! Detects that files have changed and are no longer being written.
//!
//! Invariant: a version is reported only if two polls in succession found it, and until it is recorded as read.

/// The versions of files at the last two polls, as [`FileFingerprint`](crate::FileFingerprint)s for example.
#[derive(Debug)]
pub struct SettledChange<V> {
    /// The version that was read last.
    read: V,
    /// The version that the last poll found.
    previous: V,
}

impl<V: Clone + PartialEq> SettledChange<V> {
    /// The state after `version` was read.
    pub fn new(version: V) -> Self {
        Self { read: version.clone(), previous: version }
    }

    /// Whether `found` has to be read: it is not what was read, and the previous poll found it, too.
    #[must_use]
    pub fn poll(&mut self, found: V) -> bool {
        let is_settled = self.previous == found;
        self.previous = found;
        is_settled && self.previous != self.read
    }

    /// Records that the version of the last poll is being read.
    pub fn record_read(&mut self) {
        self.read = self.previous.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_still_being_written_is_not_read() {
        let mut file = SettledChange::new(0);
        for version in 1..25 {
            assert!(!file.poll(version), "{version}");
        }
        assert!(file.poll(24), "nothing has changed since the last poll");
        file.record_read();
        assert!(!file.poll(24), "this version is loaded");
        assert!(!file.poll(25));
        assert!(!file.poll(24), "it was changed, and changed back");
    }

    #[test]
    fn a_requested_reload_takes_a_file_as_it_is_and_the_next_polls_find_it_unchanged() {
        let mut file = SettledChange::new(0);
        assert!(!file.poll(1));
        file.record_read();
        assert!(!file.poll(1));
        assert!(!file.poll(1));
    }
}
