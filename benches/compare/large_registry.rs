//! Creates data folders of large registries directly on disk, because pushing them would sync every link.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use crate::random_blob;

/// The name of the repository that has as many tags as there are repositories.
pub(crate) const MANY_TAGS: &str = "many/tags";

/// Creates `count` repositories: [`MANY_TAGS`] with `count` tags, the others with one tag each.
pub(crate) fn create(root: PathBuf, count: usize) -> PathBuf {
    let repositories = root.join("docker/registry/v2/repositories");
    let link = random_blob::digest(b"a manifest");
    for number in 1..count {
        repository(&repositories.join(format!("team{}/app{number}", number % 100)), &["latest".to_owned()], &link);
    }
    let tags: Vec<String> = (0..count).map(|number| format!("v{number}")).collect();
    repository(&repositories.join(MANY_TAGS), &tags, &link);
    // A folder that changed within the last second is read again each time; the benchmark measures unchanged folders.
    sleep(Duration::from_millis(1500));
    root
}

fn repository(folder: &Path, tags: &[String], link: &str) {
    fs::create_dir_all(folder.join("_layers/sha256")).unwrap();
    for tag in tags {
        let current = folder.join("_manifests/tags").join(tag).join("current");
        fs::create_dir_all(&current).unwrap();
        fs::write(current.join("link"), link).unwrap();
    }
}
