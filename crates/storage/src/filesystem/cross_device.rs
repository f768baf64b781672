//! Finds folders of a store that are on another file system, so that no file can be renamed into them.
//!
//! Every object becomes visible by a rename, and the kernel renames only within one mount of one file system. If a
//! folder is a mount point, or a symbolic link to another disk, every push fails while existing data can still be
//! pulled.
//!
//! Invariant: the check changes nothing: it tries to rename a file that does not exist.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::{fs::renameat, io::Errno};
use uuid::Uuid;

use super::{super::StorePath, dirs::TEMP_DIR};

/// A folder into which no file can be moved, and the folder it would be moved from; both relative to the root of the
/// store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossDeviceDir {
    folder: String,
    target: Option<PathBuf>,
    from: &'static str,
}

impl CrossDeviceDir {
    /// Returns the target of the symbolic link, if the folder is one or is below one.
    #[must_use]
    pub fn target(&self) -> Option<&Path> {
        self.target.as_deref()
    }
}

impl fmt::Display for CrossDeviceDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { folder, from, .. } = self;
        write!(f, "{folder} is on another file system than {from}, and files cannot be moved from one to the other")
    }
}

/// Returns those of `folders` (relative to `root`) that are on another file system than the store's temporary files.
/// For a missing folder, checks the nearest existing parent.
#[must_use]
pub fn cross_device_dirs(root: &Path, folders: &[StorePath]) -> Vec<CrossDeviceDir> {
    let temporary = nearest_existing_dir(root, TEMP_DIR);
    let mut found: Vec<CrossDeviceDir> = Vec::new();
    for folder in folders {
        let place = nearest_existing_dir(root, folder.as_str());
        if can_rename(&temporary, &place) {
            continue;
        }
        let name = place.strip_prefix(root).unwrap_or(&place).display().to_string();
        // A mount point is reported once for all folders below it.
        if found.iter().any(|other| Path::new(&name).starts_with(&other.folder)) {
            continue;
        }
        found.push(CrossDeviceDir { folder: name, target: last_link_target(root, &place), from: TEMP_DIR });
    }
    found
}

/// Returns the folder `name` below `root`, or its nearest existing parent.
fn nearest_existing_dir(root: &Path, name: &str) -> PathBuf {
    let mut place = root.join(name);
    while place != root && !place.is_dir() {
        place.pop();
    }
    place
}

/// Whether a file can be renamed between the folders. Any error of the trial rename except `EXDEV` counts as success
/// here; the operations that it affects report it.
fn can_rename(from: &Path, to: &Path) -> bool {
    let device = |folder: &Path| fs::metadata(folder).map(|found| found.dev()).ok();
    // Subvolumes of one mount have different device numbers.
    if device(from) != device(to) {
        return false;
    }
    let name = Uuid::new_v4().to_string();
    // The kernel compares the mounts before it looks for the file.
    let tried = renameat(rustix::fs::CWD, from.join(&name), rustix::fs::CWD, to.join(&name));
    tried != Err(Errno::XDEV)
}

/// Returns the target of the last symbolic link between `root` and `place`.
fn last_link_target(root: &Path, place: &Path) -> Option<PathBuf> {
    let within = place.ancestors().take_while(|above| *above != root);
    within.into_iter().find_map(|above| fs::read_link(above).ok())
}

/// Describes the fault if `path` or a folder above it is a dangling symbolic link.
#[must_use]
pub fn dangling_link(path: &Path) -> Option<String> {
    // A link that leads to itself is dangling too.
    let is_missing = |error: io::Error| matches!(Errno::from_io_error(&error), Some(Errno::NOENT | Errno::LOOP));
    let dangles = |above: &&Path| fs::symlink_metadata(above).is_ok() && fs::metadata(above).is_err_and(is_missing);
    let link = path.ancestors().filter(|above| !above.as_os_str().is_empty()).find(dangles)?;
    let target = fs::read_link(link).unwrap_or_default();
    let is_loop = fs::metadata(link).is_err_and(|error| Errno::from_io_error(&error) == Some(Errno::LOOP));
    let fault = if is_loop { "which leads back to it" } else { "which does not exist" };
    Some(format!("{} is a symbolic link to {}, {fault}", link.display(), target.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn path(text: &str) -> StorePath {
        text.parse().unwrap()
    }

    #[test]
    fn a_folder_that_is_a_link_to_another_disk_is_named_once_with_its_target() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let folder = root.path().join("a/blobs");
        fs::create_dir_all(root.path().join(TEMP_DIR)).unwrap();
        fs::create_dir_all(folder.parent().unwrap()).unwrap();
        let folders = [path("a/blobs"), path("a/blobs/sha256"), path("a/others"), path("b")];
        assert_eq!(cross_device_dirs(root.path(), &folders), []);
        symlink(other.path(), &folder).unwrap();
        let found = cross_device_dirs(root.path(), &folders);
        assert_eq!(found.len(), 1, "{found:?}");
        let words = format!("a/blobs is on another file system than {TEMP_DIR}");
        assert!(found[0].to_string().starts_with(&words), "{}", found[0]);
        assert_eq!(found[0].target(), Some(other.path()));
        assert_eq!(fs::read_dir(other.path()).unwrap().count(), 0, "looking changes nothing");
    }

    #[test]
    fn a_link_within_the_file_system_is_no_other_one() {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        symlink(other.path(), root.path().join("blobs")).unwrap();
        assert_eq!(cross_device_dirs(root.path(), &[path("blobs"), path("blobs/sha256")]), []);
    }

    #[test]
    fn a_link_into_nowhere_is_named_wherever_on_the_way_it_is() {
        let root = tempfile::tempdir().unwrap();
        let link = root.path().join("data");
        symlink("/nowhere/at/all", &link).unwrap();
        for place in [link.clone(), link.join("docker/registry")] {
            let said = dangling_link(&place).unwrap();
            assert!(said.ends_with("data is a symbolic link to /nowhere/at/all, which does not exist"), "{said}");
        }
        let circle = root.path().join("circle");
        symlink("circle", &circle).unwrap();
        assert!(dangling_link(&circle).unwrap().ends_with("a symbolic link to circle, which leads back to it"));
        assert_eq!(dangling_link(&root.path().join("missing")), None);
        assert_eq!(dangling_link(root.path()), None);
    }
}
