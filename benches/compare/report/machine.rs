//! Describes the machine and the software versions of the run.

use std::{fs, time::SystemTime};

use time::OffsetDateTime;

use crate::external_programs;

/// One sentence with the date, the processors, the memory, the kernel and the versions of all programs.
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
        external_programs::versions(),
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
