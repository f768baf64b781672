//! Runs a command of the program in the background, with its messages in a file.
//!
//! Invariant: no command outlives its `RunningCommand`; `Drop` kills it.

use std::fs;
use std::process::{Child, Command, Stdio};

use tempfile::NamedTempFile;

use super::portcullis_server::BINARY;
use super::{ServerDir, eventually};

/// A command that is running. Its standard output is discarded.
pub(crate) struct RunningCommand {
    child: Child,
    /// Not a pipe: the child would wait for a reader, and a reader without limit for the child.
    stderr: NamedTempFile,
}

impl RunningCommand {
    /// Starts the command in the directory of a server.
    pub(crate) fn start(stage: &ServerDir, words: &[&str]) -> Self {
        let stderr = NamedTempFile::new().unwrap();
        let mut command = Command::new(BINARY);
        command.current_dir(stage.folder()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr.reopen().unwrap());
        Self { child: command.spawn().unwrap(), stderr }
    }

    /// What it has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.stderr.path()).unwrap()
    }

    /// Waits for the end, and returns the exit code with what is on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut status = None;
        eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let said = self.stderr();
        (status.unwrap_or_else(|| panic!("the command should end; it said:\n{said}")).code(), said)
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
