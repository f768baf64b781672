//! Random blobs as files, which get a new digest on demand without hashing the whole content again.

use std::{
    fs::{self, File},
    io::{BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::fill;
use sha2::{Digest as _, Sha256};

/// The size of the variable part at the end of a file; the hash state of the rest is kept.
const VARIABLE_LEN: usize = 16;

/// A file with random bytes.
pub(crate) struct RandomBlob {
    path: PathBuf,
    size: usize,
    before_stamp: Sha256,
    digest: String,
}

impl RandomBlob {
    /// Creates a file of `size` random bytes.
    pub(crate) fn make(path: PathBuf, size: usize) -> Self {
        let mut file = BufWriter::new(File::create(&path).unwrap());
        let mut before_stamp = Sha256::new();
        let mut bytes = vec![0; 1 << 20];
        let mut left = size - VARIABLE_LEN;
        while left > 0 {
            let part = &mut bytes[..left.min(1 << 20)];
            fill(part).unwrap();
            before_stamp.update(&*part);
            file.write_all(part).unwrap();
            left -= part.len();
        }
        file.write_all(&[0; VARIABLE_LEN]).unwrap();
        file.flush().unwrap();
        let mut blob = Self { path, size, before_stamp, digest: String::new() };
        blob.randomize();
        blob
    }

    /// Creates `count` files of `size` random bytes in a folder.
    pub(crate) fn make_many(folder: &Path, count: usize, size: usize) -> Vec<Self> {
        (0..count).map(|number| Self::make(folder.join(format!("blob-{number}")), size)).collect()
    }

    /// Changes the content to one that no server has, and returns its digest.
    pub(crate) fn randomize(&mut self) -> &str {
        let mut stamp = [0; VARIABLE_LEN];
        fill(&mut stamp).unwrap();
        let file = File::options().write(true).open(&self.path).unwrap();
        file.write_all_at(&stamp, (self.size - VARIABLE_LEN) as u64).unwrap();
        let hash = self.before_stamp.clone().chain_update(stamp).finalize();
        self.digest = format_digest(&hash);
        &self.digest
    }

    /// Renames the file to its digest.
    pub(crate) fn rename_to_digest(&mut self) {
        let path = self.path.with_file_name(self.digest.strip_prefix("sha256:").unwrap());
        fs::rename(&self.path, &path).unwrap();
        self.path = path;
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

/// The SHA-256 digest of `bytes`, as `sha256:…`.
pub(crate) fn digest(bytes: &[u8]) -> String {
    format_digest(&Sha256::digest(bytes))
}

fn format_digest(hash: &[u8]) -> String {
    hash.iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}
