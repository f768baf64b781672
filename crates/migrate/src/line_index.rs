//! Gives the lines of several files one continuous numbering, so that one number identifies a file and a line in it.
//!
//! Invariant: a line is in the last file that begins at or before it; the main file begins at 0, so its line numbers
//! are unchanged.

/// The files that a configuration was read from.
#[derive(Clone, Debug)]
pub(super) struct LineIndex {
    /// The number before each file's first line, and its name.
    files: Vec<(usize, String)>,
    next: usize,
}

impl LineIndex {
    /// Starts the numbering with a main file of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { files: vec![(0, name.to_owned())], next: 0 }
    }

    /// Changes the name of the main file.
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.files[0].1);
    }

    /// Adds a file and returns the number before its first line.
    pub(super) fn add(&mut self, name: &str, text: &str) -> usize {
        let first = self.next;
        if first > 0 {
            self.files.push((first, name.to_owned()));
        }
        self.next += text.lines().count() + 2;
        first
    }

    /// The names of all files.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|(_, name)| name.as_str())
    }

    /// The name of the file that a line is in, and its number there.
    pub(super) fn locate(&self, line: usize) -> (&str, usize) {
        let found = self.files.iter().rev().find(|(first, _)| *first < line.max(1));
        found.map_or(("", line), |(first, name)| (name.as_str(), line - first))
    }

    /// The file and line in the usual notation: `site.conf:12`.
    pub(super) fn format_place(&self, line: usize) -> String {
        let (name, line) = self.locate(line);
        format!("{name}:{line}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_in_the_file_that_was_taken_up_last_before_it() {
        let mut lines = LineIndex::new("main");
        assert_eq!(lines.add("main", "a\nb\n"), 0);
        let second = lines.add("other", "c\n");
        assert_eq!(
            (lines.format_place(2), lines.format_place(second + 1)),
            ("main:2".to_owned(), "other:1".to_owned())
        );
    }
}
