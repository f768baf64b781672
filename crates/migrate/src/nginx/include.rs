//! Replaces each `include` by the content of its files, read from the disk or from the output of `nginx -T`.
//!
//! `nginx -T` prints every file once, the main one first, each behind a line `# configuration file NAME:`. Invariant:
//! an `include` whose file cannot be read stays in its place, so that later steps can report it; no file becomes a
//! part of a block unless an `include` puts it there.

use std::path::{Component, Path, PathBuf};

use super::{
    super::{line_index::LineIndex, report::ParseError},
    syntax::{self, Directive},
};

/// The file system that included files are read from.
pub trait IncludeFiles {
    /// The text of a file; `None` if it cannot be read.
    fn read(&self, path: &Path) -> Option<String>;
    /// The names in a directory; `None` if it cannot be read.
    fn list(&self, folder: &Path) -> Option<Vec<String>>;
    /// Whether a file exists; for files that directives name and that are not read here.
    fn exists(&self, path: &Path) -> bool;
    /// The directory of the main file.
    fn folder(&self) -> PathBuf;
}

/// A file system in which no file can be read.
pub struct NoIncludeFiles;

impl IncludeFiles for NoIncludeFiles {
    fn read(&self, _: &Path) -> Option<String> {
        None
    }

    fn list(&self, _: &Path) -> Option<Vec<String>> {
        None
    }

    fn exists(&self, _: &Path) -> bool {
        false
    }

    fn folder(&self) -> PathBuf {
        PathBuf::from("/")
    }
}

/// The maximum depth of nested includes.
const MAX_INCLUDE_DEPTH: usize = 10;
/// The maximum number of included files; a file counts each time that it is included.
const MAX_INCLUDED_FILES: usize = 2000;

const HINT: &str = "`nginx -t` says whether nginx itself can read the file";
const HINT_DUMP: &str = "give what nginx -T prints, whole: nginx -T | portcullis migrate nginx /dev/stdin";

/// The name of nginx's main file; nginx resolves relative names against its directory.
const MAIN_FILE: &str = "nginx.conf";
/// nginx's default directory.
const DEFAULT_DIR: &str = "/etc/nginx";

/// Parses a configuration, or the output of `nginx -T`, and replaces its includes. Fails if a printed file is not
/// included by another.
pub(super) fn read(text: &str, files: &dyn IncludeFiles, lines: &mut LineIndex) -> Result<Vec<Directive>, ParseError> {
    let Some(dump) = NginxDump::parse(text)? else {
        let directives = syntax::parse(text, lines.add("", text))?;
        let prefixes = prefixes(&directives, files);
        let is_whole = is_main(&directives);
        let home = if is_whole { None } else { nearest_main_file(files).map(|(folder, _)| folder) };
        let mut directives = assemble(files, prefixes, home, directives, lines)?;
        if !is_whole {
            directives.extend(enclosing_http(text, files, lines).unwrap_or_default());
        }
        return Ok(directives);
    };
    let (name, main) = &dump.files[0];
    lines.rename(name);
    let prefixes = vec![dump.folder()];
    let read = syntax::parse(main, lines.add(name, main))
        .and_then(|directives| assemble(&dump, prefixes, None, directives, lines));
    let directives = read.map_err(|broken| with_location(broken, lines))?;
    let is_read = |name: &str| lines.names().any(|read| normalised(Path::new(read)) == normalised(Path::new(name)));
    match dump.files.iter().find(|(name, _)| !is_read(name)) {
        Some((name, _)) => Err(ParseError {
            line: None,
            reason: format!("{name} is printed, and nothing includes it"),
            hint: HINT_DUMP,
        }),
        None => Ok(directives),
    }
}

/// Replaces the includes of these directives and makes the file names in them absolute.
fn assemble(
    files: &dyn IncludeFiles,
    prefixes: Vec<PathBuf>,
    home: Option<PathBuf>,
    directives: Vec<Directive>,
    lines: &mut LineIndex,
) -> Result<Vec<Directive>, ParseError> {
    let mut includer =
        Includer { files, search_dirs: prefixes, nginx_dir: home, lines, count: 0, site: "", has_site: false };
    let mut directives = includer.expand(directives, 0)?;
    includer.make_absolute(&mut directives);
    Ok(directives)
}

/// The directories that relative names are resolved against: that of nginx.conf, if it is found.
fn prefixes(directives: &[Directive], files: &dyn IncludeFiles) -> Vec<PathBuf> {
    let folder = files.folder();
    if is_main(directives) {
        return vec![folder];
    }
    nearest_main_file(files).map_or_else(|| vec![PathBuf::from(DEFAULT_DIR), folder], |(main, _)| vec![main])
}

/// Whether this is a main file and not only a site.
fn is_main(directives: &[Directive]) -> bool {
    directives.iter().any(|directive| ["http", "events"].contains(&directive.name.as_str()))
}

/// The nearest directory with a main file, upwards from the site's, and the main file's text.
fn nearest_main_file(files: &dyn IncludeFiles) -> Option<(PathBuf, String)> {
    let folder = files.folder();
    folder.ancestors().find_map(|folder| Some((folder.to_owned(), files.read(&folder.join(MAIN_FILE))?)))
}

/// The directives of `http` except for servers, if the main file of this machine includes the site.
fn enclosing_http(site: &str, files: &dyn IncludeFiles, lines: &mut LineIndex) -> Option<Vec<Directive>> {
    let (folder, text) = nearest_main_file(files)?;
    let mut taken = lines.clone();
    let first = taken.add(&folder.join(MAIN_FILE).display().to_string(), &text);
    let directives = syntax::parse(&text, first).ok()?;
    let mut includer = Includer {
        files,
        search_dirs: vec![folder.clone()],
        nginx_dir: Some(folder),
        lines: &mut taken,
        count: 0,
        site,
        has_site: false,
    };
    let mut directives = includer.expand(directives, 0).ok()?;
    includer.make_absolute(&mut directives);
    if !includer.has_site {
        return None;
    }
    *lines = taken;
    let http = directives.into_iter().find(|directive| directive.name == "http")?;
    Some(http.block?.into_iter().filter(|directive| directive.name != "server").collect())
}

/// The error with its line converted to a file name and the line in that file.
fn with_location(broken: ParseError, lines: &LineIndex) -> ParseError {
    match broken.line {
        Some(line) => ParseError {
            line: None,
            reason: format!("{}: {}", lines.format_place(line), broken.reason),
            hint: broken.hint,
        },
        None => broken,
    }
}

struct Includer<'a> {
    files: &'a dyn IncludeFiles,
    search_dirs: Vec<PathBuf>,
    /// The directory of this machine's own nginx, if it is found: a directory missing in it is missing for nginx too.
    nginx_dir: Option<PathBuf>,
    lines: &'a mut LineIndex,
    count: usize,
    /// The site's text, and whether an included file had the same text.
    site: &'a str,
    has_site: bool,
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
    fn make_absolute(&self, directives: &mut [Directive]) {
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
    fn expand(&mut self, directives: Vec<Directive>, depth: usize) -> Result<Vec<Directive>, ParseError> {
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

/// Whether a name matches a shell pattern. A bracket expression that is not supported may match more than nginx's does,
/// so more files are read.
fn matches_glob(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.split_first(), name.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), _) => {
            matches_glob(rest, name) || name.split_first().is_some_and(|(_, after)| matches_glob(pattern, after))
        }
        (Some((b'?', rest)), Some((_, after))) => matches_glob(rest, after),
        (Some((b'[', rest)), Some((letter, after))) => match rest.iter().skip(1).position(|byte| *byte == b']') {
            Some(end) => matches_bracket(&rest[..=end], *letter) && matches_glob(&rest[end + 2..], after),
            None => *letter == b'[' && matches_glob(rest, after),
        },
        (Some((expected, rest)), Some((letter, after))) => expected == letter && matches_glob(rest, after),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn matches_bracket(inside: &[u8], letter: u8) -> bool {
    let (negated, inside) = match inside.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        Some(_) | None => (false, inside),
    };
    let in_range = inside.windows(3).any(|range| range[1] == b'-' && (range[0]..=range[2]).contains(&letter));
    (inside.contains(&letter) || in_range) != negated
}

/// The parsed output of `nginx -T`: names and texts of the files, the main file first.
struct NginxDump {
    files: Vec<(String, String)>,
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
    fn parse(text: &str) -> Result<Option<Self>, ParseError> {
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
fn normalised(path: &Path) -> PathBuf {
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
