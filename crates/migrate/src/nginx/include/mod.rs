//! Replaces each `include` by the content of its files, read from the disk or from the output of `nginx -T`.
//!
//! Invariant: an `include` whose file cannot be read stays in its place, so that later steps can report it; no file
//! becomes a part of a block unless an `include` puts it there.

mod dump;
mod files;
mod glob;
mod includer;

use std::path::{Path, PathBuf};

use super::{
    super::{line_index::LineIndex, report::ParseError},
    syntax::{self, Directive},
};
use dump::{HINT_DUMP, NginxDump, normalised};
use includer::{Includer, with_location};

pub use files::{IncludeFiles, NoIncludeFiles};

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
