//! Determines from the type of a file system what the store may rely on: whether directory changes keep their order,
//! and whether cached data can be read without waiting.
//!
//! **Order.** Where one journal or transaction contains all directory changes, syncing a folder also makes all earlier
//! changes durable, in whichever folder they were: a file in three new folders needs one sync, of the innermost folder.
//! This holds for ext3 and ext4, XFS (the log is forced up to the inode's last change), btrfs (`fsync` logs new
//! ancestors), F2FS, bcachefs and ZFS (the intent log keeps the order of all directory changes). POSIX does not
//! guarantee it, so on every file system that is not in the list, each folder is synced.
//!
//! ext4 without a journal has the same magic number and cannot be distinguished: there `fsync` syncs new parents
//! (`ext4_sync_parent`), but after a power failure a moved file may have both names. The operator's manual mentions
//! this.
//!
//! **Waiting.** On a network or FUSE file system, opening a file asks a server or a process, which may not answer; the
//! flags of `openat2(2)` and `preadv2(2)` against waiting do not prevent that. Such a request on an async thread would
//! stop every other request on that thread. So files are read in place only on file systems that are known to be local.
//!
//! Invariant: a type that is not in a list has the property that is safe everywhere.

use std::{fmt, fs::File, path::Path};

/// The type of a file system: its magic number (`statfs(2)`); `None` if it cannot be determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FsType(pub(super) Option<i128>);

/// Whether a sync makes earlier directory changes durable, in whichever folder they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetadataOrder {
    /// The file system keeps the order; one sync is enough.
    Preserved,
    /// Unknown: each folder is synced.
    Unknown,
}

/// On which threads files are opened and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadMode {
    /// On the caller's thread if the data is in the page cache, else on a blocking thread.
    InPlace,
    /// Always on a blocking thread.
    BlockingThread,
}

/// A known file system. The numbers are from `statfs(2)` and the sources of Linux, bcachefs and `OpenZFS`.
struct KnownFs {
    magic: i128,
    name: &'static str,
    order: MetadataOrder,
    read_mode: ReadMode,
}

const fn ordered(magic: i128, name: &'static str) -> KnownFs {
    KnownFs { magic, name, order: MetadataOrder::Preserved, read_mode: ReadMode::InPlace }
}

const fn local(magic: i128, name: &'static str) -> KnownFs {
    KnownFs { magic, name, order: MetadataOrder::Unknown, read_mode: ReadMode::InPlace }
}

const fn remote(magic: i128, name: &'static str) -> KnownFs {
    KnownFs { magic, name, order: MetadataOrder::Unknown, read_mode: ReadMode::BlockingThread }
}

const KNOWN: [KnownFs; 26] = [
    ordered(0xEF53, "ext4"),
    ordered(0x5846_5342, "XFS"),
    ordered(0x9123_683E, "btrfs"),
    ordered(0xF2F5_2010, "F2FS"),
    ordered(0xCA45_1A4E, "bcachefs"),
    ordered(0x2FC1_2FC1, "ZFS"),
    // Keeps nothing over a power failure.
    ordered(0x0102_1994, "tmpfs"),
    local(0x794C_7630, "overlayfs"),
    local(0x3153_464A, "JFS"),
    local(0x5265_4973, "ReiserFS"),
    local(0x3434, "NILFS2"),
    local(0x8584_58F6, "ramfs"),
    // For their names in the log: a type that is not in this table is read on blocking threads, too.
    remote(0x6969, "NFS"),
    remote(0x517B, "SMB"),
    remote(0xFF53_4D42, "CIFS"),
    remote(0xFE53_4D42, "SMB2"),
    remote(0x6573_5546, "FUSE"),
    remote(0x0102_1997, "9P"),
    remote(0x00C3_6400, "Ceph"),
    remote(0x5346_414F, "AFS"),
    remote(0x6B41_4653, "AFS"),
    remote(0x7375_7245, "Coda"),
    remote(0x0BD0_0BD0, "Lustre"),
    remote(0x0116_1970, "GFS2"),
    remote(0x7461_636F, "OCFS2"),
    remote(0x786F_4256, "vboxsf"),
];

impl FsType {
    /// Returns the type of the file system that contains `path`.
    pub(super) fn detect(path: &Path) -> Self {
        Self(rustix::fs::statfs(path).ok().map(|found| i128::from(found.f_type)))
    }

    /// Returns the type of the file system that contains `file`.
    pub(super) fn of_file(file: &File) -> Self {
        Self(rustix::fs::fstatfs(file).ok().map(|found| i128::from(found.f_type)))
    }

    /// Whether the file system keeps the order of directory changes.
    pub(super) fn metadata_order(self) -> MetadataOrder {
        self.known().map_or(MetadataOrder::Unknown, |known| known.order)
    }

    /// On which threads its files are read.
    pub(super) fn read_mode(self) -> ReadMode {
        self.known().map_or(ReadMode::BlockingThread, |known| known.read_mode)
    }

    fn known(self) -> Option<&'static KnownFs> {
        // Some architectures have a signed field: CIFS is negative there.
        let magic = self.0? & 0xFFFF_FFFF;
        KNOWN.iter().find(|known| known.magic == magic)
    }
}

impl fmt::Display for FsType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.known(), self.0) {
            (Some(known), _) => f.write_str(known.name),
            (None, Some(magic)) => write!(f, "unknown type {:#x}", magic & 0xFFFF_FFFF),
            (None, None) => f.write_str("unknown type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_is_not_in_the_list_gets_a_sync_for_each_folder() {
        assert_eq!(FsType::detect(Path::new("/proc")).metadata_order(), MetadataOrder::Unknown);
        assert_eq!(FsType::detect(Path::new("/nowhere/at/all")).metadata_order(), MetadataOrder::Unknown);
    }

    #[test]
    fn files_on_a_network_a_fuse_or_an_unknown_file_system_are_read_on_blocking_threads() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0xFE53_4D42, "SMB2"),
            (i128::from(0xFF53_4D42_u32.cast_signed()), "CIFS"),
            (0x6573_5546, "FUSE"),
            (0x0102_1997, "9P"),
            (0x00C3_6400, "Ceph"),
            (0x1234_5678, "unknown type 0x12345678"),
        ] {
            let found = FsType(Some(magic));
            assert_eq!((found.read_mode(), found.to_string().as_str()), (ReadMode::BlockingThread, name));
        }
        assert_eq!(FsType(None).read_mode(), ReadMode::BlockingThread);
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630] {
            assert_eq!(FsType(Some(local)).read_mode(), ReadMode::InPlace, "{local:#x}");
        }
    }

    #[test]
    fn a_file_has_the_type_of_its_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(FsType::of_file(file.as_file()), FsType::detect(file.path().parent().unwrap()));
    }
}
