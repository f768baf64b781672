//! Runs a program in the background: output to a file, stopped by its own process id.
//!
//! Invariant: no process outlives its `Daemon`; `Drop` sends SIGTERM, and SIGKILL after a timeout.

use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{EVENT_DEADLINE, eventually};

/// A child process and the file with its output.
pub(crate) struct Daemon {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts `command` with both output streams redirected to the file `log`.
    pub(crate) fn start(mut command: Command, log: PathBuf) -> Self {
        let name = command.get_program().to_string_lossy().into_owned();
        let output = File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        Self { name, child, log }
    }

    /// The output so far.
    pub(crate) fn log(&self) -> String {
        // Also called while a failing test unwinds, where a second panic would end the whole test process.
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready`; panics with the log if the process ends or is not ready within [`EVENT_DEADLINE`].
    pub(crate) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) {
        let mut exit = None;
        let answered = eventually(|| {
            exit = self.child.try_wait().unwrap();
            exit.is_some() || ready()
        });
        if let Some(status) = exit {
            panic!("{} ended before it was ready ({status}); its log:\n{}", self.name, self.log());
        }
        assert!(answered, "{} was not ready within {EVENT_DEADLINE:?}; its log:\n{}", self.name, self.log());
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit status, if the process has ended.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// The exit status, if the process ends within [`EVENT_DEADLINE`].
    pub(crate) fn wait_for_exit(&mut self) -> Option<ExitStatus> {
        let mut status = None;
        eventually(|| {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status
    }

    /// Stops the process by SIGTERM and returns its exit status; panics if it has to be killed.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.end()
            .unwrap_or_else(|| panic!("{} ignored SIGTERM for {EVENT_DEADLINE:?}; its log:\n{}", self.name, self.log()))
    }

    /// The exit status; `None` if the process had to be killed.
    fn end(&mut self) -> Option<ExitStatus> {
        if let Some(status) = self.child.try_wait().unwrap() {
            return Some(status);
        }
        // The process is a child that was not waited for, so its id cannot belong to another process.
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let status = self.wait_for_exit();
        if status.is_none() {
            self.child.kill().unwrap();
            self.child.wait().unwrap();
        }
        status
    }
}

impl Drop for Daemon {
    #[expect(clippy::print_stderr, reason = "a failing test needs the log of its server")]
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- log of {}:\n{}", self.name, self.log());
        }
    }
}
