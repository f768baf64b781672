//! Checks the resources of the machine: free disk space and inodes, the limit of open files, and the clock.

use std::{
    env, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, getrlimit};

use super::{parts::existing, warning::Warning};
use crate::{config::Config, storage};

/// Free disk space below which a warning is given on a disk of any size, in bytes.
const LITTLE: u64 = 1 << 30;
/// Open files that a server needs besides those of its connections: its own, and those of the log.
const OWN_FILES: u64 = 64;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) fn examine(config: &Config, now: SystemTime) -> Vec<Warning> {
    let storage::Config::Filesystem { root } = &config.storage;
    let mut warnings = room(root);
    warnings.extend(open_files(config.server.limits.connections, getrlimit(Resource::Nofile).maximum));
    warnings.extend(built().and_then(|built| clock(now, built)));
    warnings
}

fn room(root: &Path) -> Vec<Warning> {
    let Ok(disk) = rustix::fs::statvfs(existing(root)) else { return Vec::new() };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let whole = disk.f_blocks.saturating_mul(disk.f_frsize);
    bytes(root, free, whole).into_iter().chain(inodes(root, disk.f_favail, disk.f_files)).collect()
}

fn bytes(root: &Path, free: u64, whole: u64) -> Option<Warning> {
    (free < LITTLE || free < whole / 10).then(|| {
        Warning::new(
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
fn inodes(root: &Path, free: u64, all: u64) -> Option<Warning> {
    (all > 0 && free < all / 10).then(|| {
        Warning::new(
            format!("data folder {}: {free} of {all} inodes are free on its disk", root.display()),
            "every blob, link and tag is a file: free some with 'portcullis gc', or use a file system with more inodes"
                .to_owned(),
        )
    })
}

/// Warns if the hard limit of open files is too low. A connection that transfers a layer needs a socket and a file; the
/// server raises its soft limit to the hard one.
fn open_files(connections: usize, most: Option<u64>) -> Option<Warning> {
    let (most, connections) = (most?, u64::try_from(connections).unwrap_or(u64::MAX));
    let needed = connections.saturating_mul(2).saturating_add(OWN_FILES);
    (most < needed).then(|| {
        Warning::new(
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
fn built() -> Option<SystemTime> {
    fs::metadata(env::current_exe().ok()?).ok()?.modified().ok()
}

/// Warns if the clock is more than a day behind the modification time of the program file.
fn clock(now: SystemTime, built: SystemTime) -> Option<Warning> {
    let behind = built.duration_since(now).ok().filter(|behind| *behind > DAY)?;
    Some(Warning::new(
        format!("the clock is wrong: it is {} days before this program was built", behind.as_secs() / DAY.as_secs()),
        "set it: 'timedatectl set-ntp true'; certificates and tokens depend on the right time".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(warning: Option<Warning>) -> Option<String> {
        warning.map(|warning| warning.to_string())
    }

    #[test]
    fn little_room_is_a_gibibyte_or_a_tenth_of_the_disk() {
        let root = Path::new("data");
        assert_eq!(bytes(root, 2 * LITTLE, 20 * LITTLE), None);
        for (free, whole) in [(LITTLE - 1, LITTLE), (2 * LITTLE, 20 * LITTLE + 10), (0, 0)] {
            let told = text(bytes(root, free, whole)).unwrap_or_else(|| panic!("{free} of {whole}"));
            assert!(told.starts_with("warning: data folder data: ") && told.contains("\nhint: free some"), "{told}");
        }
        assert!(text(bytes(root, 1 << 20, 1 << 40)).unwrap().contains("1.00 MiB of 1.00 TiB are free"));
    }

    #[test]
    fn few_inodes_are_told_where_there_are_inodes_to_count() {
        let root = Path::new("data");
        assert_eq!(inodes(root, 0, 0), None);
        assert_eq!(inodes(root, 10, 100), None);
        assert!(text(inodes(root, 9, 100)).unwrap().contains("9 of 100 inodes are free"));
    }

    #[test]
    fn every_connection_may_need_two_files() {
        assert_eq!(open_files(4096, None), None);
        assert_eq!(open_files(100, Some(264)), None);
        let told = text(open_files(100, Some(263))).unwrap();
        assert!(told.contains("may need 264 open files, and this user may have 263"), "{told}");
        assert!(open_files(usize::MAX, Some(1024)).is_some());
    }

    #[test]
    fn a_clock_before_the_program_was_made_is_wrong() {
        let built = SystemTime::UNIX_EPOCH + DAY * 20_000;
        assert_eq!(clock(built, built), None);
        assert_eq!(clock(built + DAY, built), None);
        assert_eq!(clock(built - DAY, built), None);
        assert!(text(clock(SystemTime::UNIX_EPOCH, built)).unwrap().contains("20000 days before"));
    }
}
