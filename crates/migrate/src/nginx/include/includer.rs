//! Replaces each `include` by the directives of the files that it names.
//!
//! Invariant: the depth and the number of includes are bounded.

use std::path::{Component, Path, PathBuf};

use super::{
    super::{
        super::{line_index::LineIndex, report::ParseError},
        syntax::{self, Directive},
    },
    files::IncludeFiles,
    glob::matches_glob,
};

/// The maximum depth of nested includes.
const MAX_INCLUDE_DEPTH: usize = 10;
/// The maximum number of included files; a file counts each time that it is included.
const MAX_INCLUDED_FILES: usize = 2000;

const HINT: &str = "`nginx -t` says whether nginx itself can read the file";

pub(super) struct Includer<'a> {
    pub(super) files: &'a dyn IncludeFiles,
    pub(super) search_dirs: Vec<PathBuf>,
    /// The directory of this machine's own nginx, if it is found: a directory missing in it is missing for nginx too.
    pub(super) nginx_dir: Option<PathBuf>,
    pub(super) lines: &'a mut LineIndex,
    pub(super) count: usize,
    /// The site's text, and whether an included file had the same text.
    pub(super) site: &'a str,
    pub(super) has_site: bool,
}

/// Directives whose argument is the name of a file.
const FILE_DIRECTIVES: [&str; 6] = [
    "auth_basic_user_file",
    "ssl_certificate",
    "ssl_certificate_key",
    "ssl_client_certificate",
    "ssl_crl",
    "ssl_trusted_certificate",
];

impl Includer<'_> {
    /// Makes the names of files absolute where the file exists below a prefix.
    pub(super) fn make_absolute(&self, directives: &mut [Directive]) {
        for directive in directives {
            self.make_absolute(directive.block.as_deref_mut().unwrap_or_default());
            if let ([name], true) =
                (directive.arguments.as_mut_slice(), FILE_DIRECTIVES.contains(&directive.name.as_str()))
                && !name.is_empty()
                && !name.contains(['$', ':'])
                && let Some(path) =
                    self.search_dirs.iter().map(|prefix| prefix.join(&*name)).find(|path| self.files.exists(path))
            {
                *name = path.display().to_string();
            }
        }
    }

    /// Replaces each `include` whose files can be read, also in blocks.
    pub(super) fn expand(&mut self, directives: Vec<Directive>, depth: usize) -> Result<Vec<Directive>, ParseError> {
        let mut expanded = Vec::new();
        for mut directive in directives {
            if directive.name == "include" && directive.block.is_none() {
                match self.resolve(directive.first_argument()) {
                    Some(found) => expanded.extend(self.expand_files(found, directive.line, depth)?),
                    None => expanded.push(directive),
                }
                continue;
            }
            if let Some(block) = directive.block.take() {
                directive.block = Some(self.expand(block, depth)?);
            }
            expanded.push(directive);
        }
        Ok(expanded)
    }

    /// The directives of the found files, with their own includes replaced.
    fn expand_files(
        &mut self,
        found: Vec<(PathBuf, String)>,
        line: usize,
        depth: usize,
    ) -> Result<Vec<Directive>, ParseError> {
        let mut directives = Vec::new();
        for (path, text) in found {
            self.count += 1;
            if depth == MAX_INCLUDE_DEPTH || self.count > MAX_INCLUDED_FILES {
                return Err(ParseError::at(line, "files that include each other without end", HINT));
            }
            self.has_site |= text == self.site;
            let first = self.lines.add(&self.display_name(&path), &text);
            let read = syntax::parse(&text, first).map_err(|broken| with_location(broken, self.lines))?;
            let within = self.expand(read, depth + 1).map_err(|broken| match broken.line {
                Some(line) if line > first => with_location(broken, self.lines),
                Some(_) | None => broken,
            })?;
            directives.extend(within);
        }
        Ok(directives)
    }

    /// A file's name for messages, relative to the main file's directory if the main file's own name has no directory.
    fn display_name(&self, path: &Path) -> String {
        let is_short = self.lines.names().next().is_some_and(|name| !name.contains('/'));
        let short = path.strip_prefix(self.files.folder()).ok().filter(|_| is_short);
        short.unwrap_or(path).display().to_string()
    }

    /// The files that an `include` names; `None` if one of them, or a directory that may hold some, cannot be read.
    fn resolve(&self, name: &str) -> Option<Vec<(PathBuf, String)>> {
        self.search_dirs.iter().find_map(|prefix| {
            let path = prefix.join(name);
            let paths = if name.contains(['*', '?', '[']) { self.glob(&path)? } else { vec![path] };
            paths.into_iter().map(|path| Some((path.clone(), self.files.read(&path)?))).collect()
        })
    }

    /// The paths that a shell pattern matches, sorted by name within each directory; `None` if a directory cannot be
    /// read.
    fn glob(&self, pattern: &Path) -> Option<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            let text = component.as_os_str().to_str()?;
            if !matches!(component, Component::Normal(_)) || !text.contains(['*', '?', '[']) {
                for path in &mut found {
                    path.push(component);
                }
                continue;
            }
            let mut next = Vec::new();
            for folder in found {
                let is_home = self.nginx_dir.as_ref().is_some_and(|home| folder.starts_with(home));
                if is_home && !self.files.exists(&folder) && self.files.list(&folder).is_none() {
                    continue;
                }
                let mut names = self.files.list(&folder)?;
                names.sort();
                names.retain(|name| {
                    text.starts_with('.') == name.starts_with('.') && matches_glob(text.as_bytes(), name.as_bytes())
                });
                next.extend(names.into_iter().map(|name| folder.join(name)));
            }
            found = next;
        }
        Some(found)
    }
}

/// The error with its line converted to a file name and the line in that file.
pub(super) fn with_location(broken: ParseError, lines: &LineIndex) -> ParseError {
    match broken.line {
        Some(line) => ParseError {
            line: None,
            reason: format!("{}: {}", lines.format_place(line), broken.reason),
            hint: broken.hint,
        },
        None => broken,
    }
}
