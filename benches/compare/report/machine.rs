//! What the numbers were measured on.

use std::{fs, time::SystemTime};

use time::OffsetDateTime;

use crate::programs;

/// The day, the machine, and the versions of everything.
pub(super) fn describe() -> String {
    let today = OffsetDateTime::from(SystemTime::now()).date();
    let processors = std::thread::available_parallelism().unwrap();
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    format!(
        "Measured on {today}: {processors} processors ({}), {} GB of memory, Linux {}. Portcullis {}; {}.",
        field("/proc/cpuinfo", "model name").unwrap_or_else(|| "of unknown kind".into()),
        memory_in_gigabytes(),
        kernel.trim(),
        env!("CARGO_PKG_VERSION"),
        programs::versions(),
    )
}

fn memory_in_gigabytes() -> u64 {
    let total = field("/proc/meminfo", "MemTotal").unwrap();
    total.trim_end_matches(" kB").parse::<u64>().unwrap() >> 20
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
