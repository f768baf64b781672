//! Computes versions of folders from their inode and change time (ctime), to detect which of thousands of folders
//! changed.
//!
//! Invariant: a version contains the ctime of the folder, which no process can set. The modification time can be set:
//! `tar` and `rsync` set it when they restore a backup, so a restored folder may have its earlier modification time
//! although its entries differ.

use std::{
    num::NonZero,
    ops::Range,
    path::Path,
    thread::available_parallelism,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, FileType, Mode, OFlags, StatxFlags, open, statx},
};

use super::{
    super::{DirVersion, StorePath},
    page_cache,
};

/// Minimum age of a folder's ctime for a valid version: the kernel's clock for files advances in ticks, and two changes
/// within one tick leave the same time.
const MIN_CTIME_AGE: Duration = Duration::from_secs(1);

/// Minimum number of folders per thread; reading their versions takes about a millisecond.
const MIN_DIRS_PER_THREAD: usize = 1024;

/// Maximum number of threads for one request, however many processors exist, because other requests need threads as
/// well.
const MAX_THREADS: usize = 4;

/// Divides `count` folders into ranges, one for each thread.
pub(super) fn split_among_threads(count: usize) -> impl Iterator<Item = Range<usize>> {
    let threads = available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let share = count.div_ceil(threads).max(MIN_DIRS_PER_THREAD);
    (0..count).step_by(share).map(move |start| start..count.min(start + share))
}

/// Reads the versions of the folders at `paths` below `root`.
pub(super) fn read_versions(root: &Path, paths: &[StorePath], now: SystemTime) -> Vec<Option<DirVersion>> {
    let base = common_dir(paths);
    // Opening the common parent lets the kernel resolve it only once. It is opened anew for each request, because the
    // folder may have been moved since the last one.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let (Ok(folder), Some(latest)) = (open(root.join(base), flags, Mode::empty()), latest_valid_ctime(now)) else {
        return vec![None; paths.len()];
    };
    paths.iter().map(|path| read_version(&folder, relative_name(base, path), latest)).collect()
}

/// Reads the version of the folder at `path` below `root` if every name on the way is cached; else returns `None`.
pub(super) async fn read_cached_version(root: &Path, path: &StorePath, now: SystemTime) -> Option<DirVersion> {
    let name = if path.as_str().is_empty() { "." } else { path.as_str() };
    read_version(&page_cache::open_dir(root, name).await?, ".", latest_valid_ctime(now)?)
}

/// Returns the deepest folder that contains or equals all `paths`.
fn common_dir(paths: &[StorePath]) -> &str {
    let mut base = paths.first().map_or("", StorePath::as_str);
    for path in paths {
        let is_base = |base: &str| path.as_str() == base || path.as_str().as_bytes().get(base.len()) == Some(&b'/');
        while !(base.is_empty() || path.as_str().starts_with(base) && is_base(base)) {
            base = base.rsplit_once('/').map_or("", |(above, _)| above);
        }
    }
    base
}

fn relative_name<'a>(base: &str, path: &'a StorePath) -> &'a str {
    match path.as_str()[base.len()..].trim_start_matches('/') {
        "" => ".",
        name => name,
    }
}

/// Returns the latest ctime that is old enough for a valid version.
fn latest_valid_ctime(now: SystemTime) -> Option<(i64, u32)> {
    let latest = now.checked_sub(MIN_CTIME_AGE)?.duration_since(UNIX_EPOCH).ok()?;
    Some((latest.as_secs().try_into().ok()?, latest.subsec_nanos()))
}

/// Reads the version (inode and ctime) of a folder. Returns `None` if the path is not a folder, if it changed just now,
/// or if the kernel or the file system does not report the fields.
fn read_version(folder: &OwnedFd, name: &str, latest: (i64, u32)) -> Option<DirVersion> {
    let wanted = StatxFlags::TYPE | StatxFlags::INO | StatxFlags::CTIME;
    let found = statx(folder, name, AtFlags::empty(), wanted).ok()?;
    let is_told = StatxFlags::from_bits_retain(found.stx_mask).contains(wanted);
    let is_folder = FileType::from_raw_mode(found.stx_mode.into()).is_dir();
    let changed = (found.stx_ctime.tv_sec, found.stx_ctime.tv_nsec);
    let device = (found.stx_dev_major, found.stx_dev_minor);
    (is_told && is_folder && changed < latest).then_some(DirVersion { device, inode: found.stx_ino, ctime: changed })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn paths(names: &[&str]) -> Vec<StorePath> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn folders_are_divided_among_threads_without_a_gap() {
        for count in [0, 1, MIN_DIRS_PER_THREAD, MIN_DIRS_PER_THREAD + 1, 5_000, 20_100, 1_000_003] {
            let shares: Vec<_> = split_among_threads(count).collect();
            assert!(shares.len() <= MAX_THREADS);
            assert_eq!(shares.into_iter().flatten().collect::<Vec<_>>(), (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_common_folder_ends_where_a_name_does() {
        for (names, base) in [
            (&["a/b", "a/b/c", "a/b/d/e"][..], "a/b"),
            (&["a/b", "a/bc"], "a"),
            (&["a/bc", "a/b"], "a"),
            (&["ab/c", "a/c"], ""),
            (&["a/b"], "a/b"),
            (&[], ""),
        ] {
            assert_eq!(common_dir(&paths(names)), base, "{names:?}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_changed_a_moment_ago_or_in_the_future_has_no_version() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        let now = SystemTime::now();
        for (now, is_some) in [(now, false), (now - 5 * MIN_CTIME_AGE, false), (now + 2 * MIN_CTIME_AGE, true)] {
            assert_eq!(read_versions(root.path(), &paths(&["a"]), now)[0].is_some(), is_some);
            assert_eq!(read_cached_version(root.path(), &"a".parse().unwrap(), now).await.is_some(), is_some);
        }
    }

    #[test]
    fn versions_come_in_the_order_of_the_folders() {
        let root = tempfile::tempdir().unwrap();
        let names = ["a", "a/b", "missing", "a/b/c", "b", "file"];
        fs::create_dir_all(root.path().join("a/b/c")).unwrap();
        fs::create_dir(root.path().join("b")).unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        let later = SystemTime::now() + 2 * MIN_CTIME_AGE;
        let together = read_versions(root.path(), &paths(&names), later);
        let one_by_one = names.map(|name| read_versions(root.path(), &paths(&[name]), later)[0]);
        assert_eq!(together, one_by_one);
        assert_eq!(one_by_one.map(|version| version.is_some()), [true, true, false, true, true, false]);
    }
}
