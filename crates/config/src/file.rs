//! Finds and reads the configuration file.
//!
//! Invariant: a file named by flag or variable must exist; a file at a default path may be missing, but any other error
//! is reported.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    environment,
    flags::Flags,
    problem::{ConfigProblem, SettingPlace},
};

/// The default paths of the configuration file, in the order of the search.
const DEFAULT_PATHS: [&str; 2] = ["portcullis.toml", "/etc/portcullis/portcullis.toml"];

/// Limit for the size of the configuration file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A configuration file that was read: its path, its name for messages and its text.
pub(super) struct ConfigFile {
    pub(super) path: PathBuf,
    pub(super) name: Arc<str>,
    pub(super) text: String,
}

/// Reads the file that flags or variables name, or the first existing one of the default paths.
pub(super) fn find_and_read(
    flags: &Flags,
    variables: &[(String, String)],
) -> Result<Option<ConfigFile>, ConfigProblem> {
    find_and_read_among(flags, variables, &DEFAULT_PATHS.map(Path::new))
}

fn find_and_read_among(
    flags: &Flags,
    variables: &[(String, String)],
    default_paths: &[&Path],
) -> Result<Option<ConfigFile>, ConfigProblem> {
    let variable =
        variables.iter().find(|(name, value)| name == environment::CONFIG_FILE_VARIABLE && !value.is_empty());
    if let Some(path) = &flags.config {
        return read_named(path, SettingPlace::Flag("--config")).map(Some);
    }
    if let Some((name, path)) = variable {
        return read_named(Path::new(path), SettingPlace::Variable(name.clone())).map(Some);
    }
    for path in default_paths {
        match open(path) {
            Ok(file) => return read_text(path, file).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(SettingPlace::WholeFile(display_name(path)), "", &error)),
        }
    }
    Ok(None)
}

fn read_named(path: &Path, place: SettingPlace) -> Result<ConfigFile, ConfigProblem> {
    match open(path) {
        Ok(file) => read_text(path, file),
        Err(error) => Err(unreadable(place, &format!("{}: ", path.display()), &error)),
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(file) }
}

fn unreadable(place: SettingPlace, subject: &str, error: &io::Error) -> ConfigProblem {
    let problem = ConfigProblem::new(place, format!("{subject}{error}"));
    if error.kind() == io::ErrorKind::IsADirectory {
        return problem
            .hint("docker makes an empty folder where a file to mount is missing: remove it, then write the file");
    }
    problem.hint("the configuration file must be there and readable by the user who runs portcullis")
}

fn read_text(path: &Path, file: File) -> Result<ConfigFile, ConfigProblem> {
    let name = display_name(path);
    let whole = SettingPlace::WholeFile(name.clone());
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(whole.clone(), "", &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(ConfigProblem::new(whole, "larger than 1 MiB").hint("is this really a configuration file?"));
    }
    let text = decode(bytes, &name)?;
    Ok(ConfigFile { path: path.to_owned(), name, text })
}

/// Decodes UTF-8, and strips a byte order mark.
fn decode(bytes: Vec<u8>, name: &Arc<str>) -> Result<String, ConfigProblem> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.split(|byte| *byte == b'\n').count();
        let last = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        let place = SettingPlace::File { name: name.clone(), line, column };
        ConfigProblem::new(place, "not UTF-8").hint("save the file with the encoding UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn display_name(path: &Path) -> Arc<str> {
    path.to_string_lossy().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &Path) -> Flags {
        Flags { config: Some(path.to_owned()), ..Flags::default() }
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error_that_says_who_named_it() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.toml");
        let problem = find_and_read_among(&at(&missing), &[], &[]).err().unwrap().to_string();
        assert!(problem.starts_with(&format!("error: --config: {}: No such file", missing.display())), "{problem}");
        let variable = [(environment::CONFIG_FILE_VARIABLE.to_owned(), missing.display().to_string())];
        let problem = find_and_read_among(&Flags::default(), &variable, &[]).err().unwrap().to_string();
        assert!(problem.starts_with("error: PORTCULLIS_CONFIG: "), "{problem}");
    }

    #[test]
    fn the_usual_files_are_looked_for_in_their_order_and_may_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let (near, far) = (folder.path().join("near.toml"), folder.path().join("far.toml"));
        let fetched = || find_and_read_among(&Flags::default(), &[], &[&near, &far]).unwrap().map(|text| text.text);
        assert_eq!(fetched(), None);
        std::fs::write(&far, "far").unwrap();
        assert_eq!(fetched().unwrap(), "far");
        std::fs::write(&near, "near").unwrap();
        assert_eq!(fetched().unwrap(), "near");
    }

    #[test]
    fn the_flag_wins_over_the_variable_and_both_over_the_usual_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).unwrap();
            path
        };
        let (flag, usual) = (at(&file("flag")), file("usual"));
        let variable = [(environment::CONFIG_FILE_VARIABLE.to_owned(), file("variable").display().to_string())];
        let fetched = |flags: &Flags| find_and_read_among(flags, &variable, &[&usual]).unwrap().unwrap().text;
        assert_eq!(fetched(&flag), "flag");
        assert_eq!(fetched(&Flags::default()), "variable");
    }

    #[test]
    fn a_folder_in_place_of_the_file_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let problem = find_and_read_among(&Flags::default(), &[], &[folder.path()]).err().unwrap().to_string();
        assert!(problem.contains("is a directory\nhint: docker makes an empty folder"), "{problem}");
    }

    #[test]
    fn a_file_that_is_too_large_or_not_utf_8_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        std::fs::write(&path, vec![b'#'; 1 << 20]).unwrap();
        assert!(find_and_read_among(&at(&path), &[], &[]).is_ok());
        std::fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
        let problem = find_and_read_among(&at(&path), &[], &[]).err().unwrap().to_string();
        assert!(
            problem.ends_with("p.toml: larger than 1 MiB\nhint: is this really a configuration file?"),
            "{problem}"
        );
        std::fs::write(&path, b"# fine\n# \xc3\xa9 caf\xe9").unwrap();
        let problem = find_and_read_among(&at(&path), &[], &[]).err().unwrap().to_string();
        assert!(problem.contains("p.toml:2:8: not UTF-8"), "{problem}");
    }
}
