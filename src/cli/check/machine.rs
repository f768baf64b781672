//! What the machine gives: room on the disk, open files, the right time.

use std::{
    env, fs,
    path::Path,
    time::{Duration, SystemTime},
};

use rustix::process::{Resource, getrlimit};

use super::{parts::existing, warning::Warning};
use crate::{config::Config, storage};

/// Less room than this is little on any disk.
const LITTLE: u64 = 1 << 30;
/// Files that a server has open beside those of its connections: its own, and those of the log.
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
            "make room, or a larger disk: 'portcullis gc' deletes what nothing refers to; a push that finds no room is refused"
                .to_owned(),
        )
    })
}

/// File systems that make inodes as they go have none to count.
fn inodes(root: &Path, free: u64, all: u64) -> Option<Warning> {
    (all > 0 && free < all / 10).then(|| {
        Warning::new(
            format!("data folder {}: {free} of {all} inodes are free on its disk", root.display()),
            "every blob, link and tag is a file: make room with 'portcullis gc', or a file system with more inodes"
                .to_owned(),
        )
    })
}

/// A connection that moves a layer has a socket and a file. The server takes as many files as it may have.
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

/// When this program was put here.
fn built() -> Option<SystemTime> {
    fs::metadata(env::current_exe().ok()?).ok()?.modified().ok()
}

/// A clock that stands before the program came here stands in the past.
fn clock(now: SystemTime, built: SystemTime) -> Option<Warning> {
    let behind = built.duration_since(now).ok().filter(|behind| *behind > DAY)?;
    Some(Warning::new(
        format!("the clock is wrong: it stands {} days before this program was made", behind.as_secs() / DAY.as_secs()),
        "set it: 'timedatectl set-ntp true'; certificates and tokens are good for a time only".to_owned(),
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
            assert!(told.starts_with("warning: data folder data: ") && told.contains("\nhint: make room"), "{told}");
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
