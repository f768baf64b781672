//! Parameters and folders that every case receives: the number of rounds, the sizes, the temporary folder.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;

use crate::{contender, fixtures::Fixtures};

const MEGABYTE: usize = 1 << 20;

/// One run of the benchmark.
pub(crate) struct BenchContext {
    pub(crate) rounds: usize,
    pub(crate) fixtures: Fixtures,
    small: bool,
    folder: TempDir,
}

impl BenchContext {
    /// Creates the files that all servers share. Everything is below the build folder, because `/tmp` may be a tmpfs,
    /// where a sync costs nothing.
    pub(crate) fn new(rounds: usize, small: bool) -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let material = Fixtures::make(&folder.path().join("material"));
        contender::first_start(&material, &folder.path().join("first"));
        Self { rounds, fixtures: material, small, folder }
    }

    /// A new folder, removed when it is dropped.
    pub(crate) fn new_temp_dir(&self) -> TempDir {
        tempfile::tempdir_in(self.folder.path()).unwrap()
    }

    /// A path in the folder of this run.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `count` megabytes in bytes; an eighth of them in a small run.
    pub(crate) fn megabytes(&self, count: usize) -> usize {
        self.scaled(count * MEGABYTE)
    }

    /// Converts bytes to gigabytes of 2^30 bytes.
    #[expect(clippy::cast_precision_loss, reason = "sizes of a benchmark are far below 2^52")]
    pub(crate) fn gigabytes(bytes: usize) -> f64 {
        bytes as f64 / f64::from(1 << 30)
    }

    /// `count`, or an eighth of it in a small run.
    pub(crate) fn scaled(&self, count: usize) -> usize {
        if self.small { count / 8 } else { count }
    }

    /// The duration of load that is measured by time and not by a number of requests.
    pub(crate) fn load_duration(&self) -> Duration {
        Duration::from_secs(if self.small { 2 } else { 3 })
    }

    /// The root of the repository.
    pub(crate) fn repository_root() -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }
}
