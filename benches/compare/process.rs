//! Starts a server process, reads the processor time and memory of its process tree from /proc, and terminates it.
//!
//! Termination is by process id and happens in `Drop`, so also when the benchmark panics.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// The unit of processor times in /proc: hundredths of a second (`USER_HZ`), whatever the kernel uses internally.
const TICKS_PER_SECOND: f64 = 100.0;

/// How long a server may take to end after SIGTERM, before SIGKILL.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// A process and its descendants, such as nginx's workers.
pub(crate) struct ServerProcess {
    child: Child,
}

/// The resident memory of a process now and its peak, in bytes.
#[derive(Clone, Copy)]
pub(crate) struct ResidentMemory {
    pub(crate) now: f64,
    pub(crate) peak: f64,
}

impl ServerProcess {
    /// Starts a server with its output redirected to `log`.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let log = fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    /// Whether the process is still running.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, in seconds: user and kernel time of the process and its descendants.
    pub(crate) fn processor_time(&self) -> f64 {
        self.process_tree().into_iter().filter_map(processor_time).sum()
    }

    /// Resident memory, summed over the process and its descendants; shared memory is counted in each.
    pub(crate) fn memory(&self) -> ResidentMemory {
        let each = self.process_tree().into_iter().filter_map(memory);
        each.fold(ResidentMemory { now: 0.0, peak: 0.0 }, |sum, one| ResidentMemory {
            now: sum.now + one.now,
            peak: sum.peak + one.peak,
        })
    }

    /// The ids of the process and of all its descendants.
    fn process_tree(&self) -> Vec<u32> {
        let mut family = vec![self.child.id()];
        let mut next = 0;
        while let Some(&parent) = family.get(next) {
            family.extend(children(parent));
            next += 1;
        }
        family
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let family = self.process_tree();
        send_signal(self.child.id(), Signal::TERM);
        let deadline = Instant::now() + STOP_TIMEOUT;
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if Instant::now() > deadline {
                for id in family {
                    send_signal(id, Signal::KILL);
                }
                let _ = self.child.wait();
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

fn send_signal(id: u32, signal: Signal) {
    let Some(pid) = i32::try_from(id).ok().and_then(Pid::from_raw) else { return };
    let _ = kill_process(pid, signal);
}

fn children(id: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>()).collect()
}

/// Fields 14 to 17 of proc(5)'s stat, in seconds: own user and kernel time, and that of children that ended.
fn processor_time(id: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The second field is the program's name in brackets, which may contain spaces and brackets.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<f64>().unwrap());
    Some(ticks.sum::<f64>() / TICKS_PER_SECOND)
}

fn memory(id: u32) -> Option<ResidentMemory> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<f64>().unwrap() * 1024.0)
    };
    Some(ResidentMemory { now: field("VmRSS:")?, peak: field("VmHWM:")? })
}
