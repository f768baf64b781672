//! Parses the output of `nginx -T`: every file once, the main one first.
//!
//! Each file is behind a line `# configuration file NAME:`.

use std::path::{Component, Path, PathBuf};

use super::{super::super::report::ParseError, files::IncludeFiles};

pub(super) const HINT_DUMP: &str = "give what nginx -T prints, whole: nginx -T | portcullis migrate nginx /dev/stdin";

/// The parsed output of `nginx -T`.
pub(super) struct NginxDump {
    /// The names and texts of the files, the main file first.
    pub(super) files: Vec<(String, String)>,
}

/// The file name in a line that begins a file in the output of `nginx -T`.
fn dump_file_name(line: &str) -> Option<&str> {
    line.strip_prefix("# configuration file ")?
        .strip_suffix(':')
        .filter(|name| name.starts_with(['/', '.']) && name.contains('/'))
}

impl NginxDump {
    /// Parses the output; `None` if the text is an ordinary file. nginx's messages about its test may precede the
    /// files.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, ParseError> {
        let said = |line: &&str| line.trim().is_empty() || line.starts_with("nginx: ");
        if text.lines().find(|line| !said(line)).is_none_or(|line| dump_file_name(line).is_none()) {
            return Ok(None);
        }
        let mut files: Vec<(String, String)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if let Some(name) = dump_file_name(line) {
                if files.iter().any(|(known, _)| known == name) {
                    return Err(ParseError::at(index + 1, format!("{name} is printed twice"), HINT_DUMP));
                }
                files.push((name.to_owned(), String::new()));
            } else if let Some((_, text)) = files.last_mut() {
                text.push_str(line);
                text.push('\n');
            }
        }
        Ok(Some(Self { files }))
    }
}

/// The path without `.` components and double slashes, which nginx prints as written.
pub(super) fn normalised(path: &Path) -> PathBuf {
    path.components().filter(|component| !matches!(component, Component::CurDir)).collect()
}

/// Only printed files can be read.
impl IncludeFiles for NginxDump {
    fn read(&self, path: &Path) -> Option<String> {
        let is_it = |(name, _): &&(String, String)| normalised(Path::new(name)) == normalised(path);
        self.files.iter().find(is_it).map(|(_, text)| text.clone())
    }

    fn list(&self, folder: &Path) -> Option<Vec<String>> {
        let folder = normalised(folder);
        let mut names: Vec<String> = Vec::new();
        for (name, _) in &self.files {
            let path = normalised(Path::new(name));
            let first =
                path.strip_prefix(&folder).ok().and_then(|rest| rest.components().next().map(Component::as_os_str));
            if let Some(first) = first.and_then(|first| first.to_str())
                && !names.iter().any(|known| known == first)
            {
                names.push(first.to_owned());
            }
        }
        Some(names)
    }

    /// Always true: nginx's test has opened the certificates, and users files are resolved against the same directory.
    fn exists(&self, _: &Path) -> bool {
        true
    }

    fn folder(&self) -> PathBuf {
        Path::new(&self.files[0].0).parent().unwrap_or(Path::new("/")).to_owned()
    }
}
