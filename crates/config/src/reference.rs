//! Renders the Markdown reference of all settings from [`KEYS`].
//!
//! Invariant: `docs/configuration.md` is the output of [`reference()`], byte for byte (a test compares them).

use std::fmt::Write as _;

use super::keys::{self, Entry, Fallback, KEYS};

const INTRODUCTION: &str = "\
# Configuration

<!-- Written by the tests from crates/config/src/keys.rs: change it there, then run UPDATE_GOLDEN=1 cargo test. -->

No configuration is required. A setting is read from flags, else from `PORTCULLIS_*` variables, else from the configuration
file, else from the defaults below. `portcullis check` reports every error with its place.

- **File:** `--config FILE` or `PORTCULLIS_CONFIG`; else `./portcullis.toml`, else `/etc/portcullis/portcullis.toml`, if it
  exists. TOML, at most 1 MiB. A key that does not exist is an error.
- **Variables:** the key in upper case with `__` between levels. Lists are separated by commas. An empty variable counts as
  none; one that begins with `PORTCULLIS_` and does not exist is an error.
- **Flags:** `--listen` (`listen`), `--hostname` (`hostnames`), `--data` (`storage.filesystem.root`), `--htpasswd`
  (`auth.htpasswd`), `--certs` (`tls.self_signed.directory`), `--tls-cert` and `--tls-key` (`tls.files`).
- **Paths** are relative to the working directory, wherever they are written.
- **Durations** are a whole number and a unit: `90s`, `5m`, `24h`, `7d`.
- **Certificates:** two of `[tls.self_signed]`, `[tls.files]` and `[tls.acme]` in one file, or among the variables, contradict
  each other. Otherwise a certificate from `[tls.files]` or `[tls.acme]` takes precedence over a self-signed one.
- **Access:** without any `[[access]]` rule, every signed-in user may pull, push and delete everything. With rules, the first
  one that matches the user and the repository decides; if no rule matches, access is denied.
- **Claims** of `[[auth.workload]]` are a table: `claims = { repository = \"acme/app\", ref = \"refs/heads/*\" }`. All of them must
  match. `*` matches any characters but `/`, `**` any characters. A claim within a claim is written `outer.inner = \"…\"`; a
  name with dots of its own is written in quotes: `\"kubernetes.io\".namespace = \"build\"`. A claim that is a list must contain
  the value.
";

/// Renders the reference as Markdown.
#[must_use]
pub fn reference() -> String {
    let mut text = INTRODUCTION.to_owned();
    let mut table = None;
    for key in KEYS {
        if table.replace(key.table()) != Some(key.table()) {
            let heading = match key.table() {
                "" => "At the top".to_owned(),
                name => format!("`{}`", keys::header(name)),
            };
            let _ = write!(text, "\n## {heading}\n");
        }
        write_entry(&mut text, *key);
    }
    text
}

fn write_entry(text: &mut String, key: &dyn Entry) {
    let default = match key.fallback() {
        Fallback::Value(_) => key.default_in_toml().map(|value| format!("`{value}`")).unwrap_or_default(),
        Fallback::Computed(words) => words.to_owned(),
        Fallback::Off => "none".to_owned(),
        Fallback::Required => "must be set".to_owned(),
    };
    let variable = key.variable().map_or_else(|| "only in the file".to_owned(), |name| format!("`{name}`"));
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "\n### `{}`\n\n{}\n\n- Type: {}\n- Default: {default}\n- Variable: {variable}\n",
        key.path(),
        key.about(),
        key.noun(),
    );
}
