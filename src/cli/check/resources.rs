//! Checks the resources of the machine: free disk space and inodes, the limit of open files, and the clock.

use std::{
    env, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, getrlimit};

use super::{warning::CheckWarning, writable_folder::nearest_existing};
use crate::{config::Config, storage};

/// Free disk space below which a warning is given on a disk of any size, in bytes.
const MIN_FREE_BYTES: u64 = 1 << 30;
/// Open files that a server needs besides those of its connections: its own, and those of the log.
const RESERVED_FILES: u64 = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn examine(config: &Config, now: SystemTime) -> Vec<CheckWarning> {
    let storage::StoreConfig::Filesystem { root, .. } = &config.storage;
    let mut warnings = check_disk(root);
    warnings.extend(check_open_files(config.server.limits.connections, getrlimit(Resource::Nofile).maximum));
    warnings.extend(program_mtime().and_then(|built| check_clock(now, built)));
    warnings
}

fn check_disk(root: &Path) -> Vec<CheckWarning> {
    let Ok(disk) = rustix::fs::statvfs(nearest_existing(root)) else { return Vec::new() };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let whole = disk.f_blocks.saturating_mul(disk.f_frsize);
    check_free_bytes(root, free, whole)
        .into_iter()
        .chain(check_free_inodes(root, disk.f_favail, disk.f_files))
        .collect()
}

fn check_free_bytes(root: &Path, free: u64, whole: u64) -> Option<CheckWarning> {
    (free < MIN_FREE_BYTES || free < whole / 10).then(|| {
        CheckWarning::new(
            format!(
                "data folder {}: {} of {} are free on its disk",
                root.display(),
                indicatif::HumanBytes(free),
                indicatif::HumanBytes(whole)
            ),
            "free some space ('portcullis gc' deletes unreferenced blobs) or use a larger disk; on a full disk, pushes fail"
                .to_owned(),
        )
    })
}

/// Warns of few free inodes. File systems that allocate inodes dynamically report 0 in total.
fn check_free_inodes(root: &Path, free: u64, all: u64) -> Option<CheckWarning> {
    (all > 0 && free < all / 10).then(|| {
        CheckWarning::new(
            format!("data folder {}: {free} of {all} inodes are free on its disk", root.display()),
            "every blob, link and tag is a file: free some with 'portcullis gc', or use a file system with more inodes"
                .to_owned(),
        )
    })
}

/// Warns if the hard limit of open files is too low. A connection that transfers a layer needs a socket and a file; the
/// server raises its soft limit to the hard one.
fn check_open_files(connections: usize, limit: Option<u64>) -> Option<CheckWarning> {
    let (most, connections) = (limit?, u64::try_from(connections).unwrap_or(u64::MAX));
    let needed = connections.saturating_mul(2).saturating_add(RESERVED_FILES);
    (most < needed).then(|| {
        CheckWarning::new(
            format!(
                "limits.connections: {connections} connections may need {needed} open files, and this user may have {most}"
            ),
            format!(
                "allow more (LimitNOFILE={needed} in the systemd unit, or 'ulimit -Hn {needed}'), or lower limits.connections"
            ),
        )
    })
}

/// The modification time of the program file.
fn program_mtime() -> Option<SystemTime> {
    fs::metadata(env::current_exe().ok()?).ok()?.modified().ok()
}

/// Warns if the clock is more than a day behind the modification time of the program file.
fn check_clock(now: SystemTime, built: SystemTime) -> Option<CheckWarning> {
    let behind = built.duration_since(now).ok().filter(|behind| *behind > DAY)?;
    Some(CheckWarning::new(
        format!("the clock is wrong: it is {} days before this program was built", behind.as_secs() / DAY.as_secs()),
        "set it: 'timedatectl set-ntp true'; certificates and tokens depend on the right time".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(warning: Option<CheckWarning>) -> Option<String> {
        warning.map(|warning| warning.to_string())
    }

    #[test]
    fn little_room_is_a_gibibyte_or_a_tenth_of_the_disk() {
        let root = Path::new("data");
        assert_eq!(check_free_bytes(root, 2 * MIN_FREE_BYTES, 20 * MIN_FREE_BYTES), None);
        for (free, whole) in
            [(MIN_FREE_BYTES - 1, MIN_FREE_BYTES), (2 * MIN_FREE_BYTES, 20 * MIN_FREE_BYTES + 10), (0, 0)]
        {
            let warning = text(check_free_bytes(root, free, whole)).unwrap_or_else(|| panic!("{free} of {whole}"));
            assert!(
                warning.starts_with("warning: data folder data: ") && warning.contains("\nhint: free some"),
                "{warning}"
            );
        }
        assert!(text(check_free_bytes(root, 1 << 20, 1 << 40)).unwrap().contains("1.00 MiB of 1.00 TiB are free"));
    }

    #[test]
    fn few_inodes_are_told_where_there_are_inodes_to_count() {
        let root = Path::new("data");
        assert_eq!(check_free_inodes(root, 0, 0), None);
        assert_eq!(check_free_inodes(root, 10, 100), None);
        assert!(text(check_free_inodes(root, 9, 100)).unwrap().contains("9 of 100 inodes are free"));
    }

    #[test]
    fn every_connection_may_need_two_files() {
        assert_eq!(check_open_files(4096, None), None);
        assert_eq!(check_open_files(100, Some(264)), None);
        let warning = text(check_open_files(100, Some(263))).unwrap();
        assert!(warning.contains("may need 264 open files, and this user may have 263"), "{warning}");
        assert!(check_open_files(usize::MAX, Some(1024)).is_some());
    }

    #[test]
    fn a_clock_before_the_program_was_made_is_wrong() {
        let built = SystemTime::UNIX_EPOCH + DAY * 20_000;
        assert_eq!(check_clock(built, built), None);
        assert_eq!(check_clock(built + DAY, built), None);
        assert_eq!(check_clock(built - DAY, built), None);
        assert!(text(check_clock(SystemTime::UNIX_EPOCH, built)).unwrap().contains("20000 days before"));
    }
}
