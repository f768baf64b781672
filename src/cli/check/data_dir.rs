//! Checks the data folder: that it can be written, has no dangling links and is on one file system.
//!
//! Invariant: a check changes nothing; it creates no folder and no file.

use super::{
    check_error::CheckError,
    writable_folder::{nearest_existing, require_writable_folder},
};
use crate::{
    app,
    storage::{self, cross_device_dirs, dangling_link},
};

/// The faults that would prevent a server from using the data folder.
pub(super) fn examine(config: &storage::StoreConfig) -> Vec<CheckError> {
    let storage::StoreConfig::Filesystem { root, .. } = config;
    let place = nearest_existing(root);
    if let Some(link) = dangling_link(root) {
        let hint = "mount or create the target of the link, or name another folder with --data";
        return vec![CheckError { error: format!("data folder: {link}"), hint: Some(hint.to_owned()) }];
    }
    if let Err(error) = require_writable_folder(place) {
        let hint =
            format!("make {} a folder that this user can write, or name another one with --data", place.display());
        return vec![CheckError { error: format!("data folder {}: {error}", root.display()), hint: Some(hint) }];
    }
    let folders = app::data_folders(root);
    let dangling = folders.iter().filter_map(|folder| dangling_link(&root.join(folder.as_str())));
    let mut findings: Vec<CheckError> = Vec::new();
    for link in dangling {
        let error = format!("data folder {}: {link}", root.display());
        if findings.iter().all(|finding| finding.error != error) {
            let hint = "mount or create the target of the link, or remove the link";
            findings.push(CheckError { error, hint: Some(hint.to_owned()) });
        }
    }
    findings.extend(cross_device_dirs(root, &folders).iter().map(|separate| {
        let target = separate.target().map(|target| format!("; the folder is a link to {}", target.display()));
        CheckError {
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
