//! Checks the data folder: that it can be written, has no dangling links and is on one file system.
//!
//! Invariant: a check changes nothing; it creates no folder and no file.

use std::{fs, io, path::Path};

use super::parts::{Finding, existing, writable};
use crate::{
    registry::moved_into,
    storage::{self, StorePath, dangling_link, separate_folders},
};

const REPOSITORIES: &str = "docker/registry/v2/repositories";

/// The faults that would prevent a server from using the data folder.
pub(super) fn examine(config: &storage::Config) -> Vec<Finding> {
    let storage::Config::Filesystem { root } = config;
    let place = existing(root);
    if let Some(link) = dangling_link(root) {
        let hint = "mount or create the target of the link, or name another folder with --data";
        return vec![Finding { error: format!("data folder: {link}"), hint: Some(hint.to_owned()) }];
    }
    if let Err(error) = writable(place) {
        let hint =
            format!("make {} a folder that this user can write, or name another one with --data", place.display());
        return vec![Finding { error: format!("data folder {}: {error}", root.display()), hint: Some(hint) }];
    }
    let mut folders = moved_into();
    folders.extend(repositories(root));
    let dangling = folders.iter().filter_map(|folder| dangling_link(&root.join(folder.as_str())));
    let mut findings: Vec<Finding> = Vec::new();
    for link in dangling {
        let error = format!("data folder {}: {link}", root.display());
        if findings.iter().all(|finding| finding.error != error) {
            let hint = "mount or create the target of the link, or remove the link";
            findings.push(Finding { error, hint: Some(hint.to_owned()) });
        }
    }
    findings.extend(separate_folders(root, &folders).iter().map(|separate| {
        let target = separate.target().map(|target| format!("; the folder is a link to {}", target.display()));
        Finding {
            error: format!("data folder {}: {separate}{}", root.display(), target.unwrap_or_default()),
            hint: Some(
                "keep the whole data folder on one file system, or every push fails: move it there, and mount or link the data \
                 folder itself"
                    .to_owned(),
            ),
        }
    }));
    findings
}

/// The top-level folders of the repositories: each of them may be a link to another file system.
fn repositories(root: &Path) -> Vec<StorePath> {
    let Ok(entries) = fs::read_dir(root.join(REPOSITORIES)) else { return Vec::new() };
    let names = entries.filter_map(io::Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| format!("{REPOSITORIES}/{name}").parse().ok()).collect()
}
