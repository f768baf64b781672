//! Sets up logging to stderr and the audit log.
//!
//! The module imports [`audit`] only. Each module decides what it logs and that its events contain no secrets.
//!
//! Invariant: a filter in which a typing error would silence the whole log is rejected.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests make their values from the system's clocks"))]

mod audit_log;

use std::io::{self, IsTerminal as _};

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt as _, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
};

pub use audit_log::AuditDestination;
use audit_log::AuditLog;
use portcullis_access::audit;
use portcullis_clock::Clock;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text for people, one line per event.
    Text,
    /// JSON for machines, one object per line.
    Json,
}

/// Validated settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The format of log lines.
    pub format: LogFormat,
    /// A level or `tracing` directives: `info,portcullis::auth=debug`.
    pub filter: String,
    /// The destination of the audit log.
    pub audit: AuditDestination,
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogSetupError {
    /// The filter is not valid.
    #[error(transparent)]
    Filter(#[from] InvalidFilter),
    /// The audit log cannot be opened.
    #[error("the audit trail cannot be written: {0}")]
    AuditLog(#[from] io::Error),
    /// This process already has a log.
    #[error("the log is already set up")]
    AlreadyInstalled,
}

/// Why a text is not a log filter.
#[derive(Debug, thiserror::Error)]
pub enum InvalidFilter {
    /// A directive between commas, or the whole text, is empty.
    #[error("a log level is missing")]
    Empty,
    /// A word that is not a level. `tracing` would take it for the name of a module, and log nothing else.
    #[error("a log level is error, warn, info, debug, trace or off, and {0:?} is none of them")]
    Level(String),
    /// A directive that `tracing` cannot parse.
    #[error(transparent)]
    Directive(#[from] tracing_subscriber::filter::ParseError),
}

/// Installs the log of this process, which goes to stderr, in colour if that is a terminal.
///
/// The lines of the audit log get the time of `clock`.
///
/// Errors: an invalid filter, an audit log that cannot be opened, or a second call.
pub fn install(config: &Config, clock: Clock) -> Result<(), LogSetupError> {
    let trail = AuditLog::open(&config.audit, clock)?;
    let subscriber = subscriber(config, trail, io::stderr().is_terminal(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogSetupError::AlreadyInstalled)
}

/// Writes an event of a command that runs beside the server to the audit log, if that is a file. With
/// [`AuditDestination::Stdout`] it writes nothing, because the command's standard output contains its own data.
pub fn record_command_event(target: &AuditDestination, event: &audit::AuditEvent<'_>, clock: Clock) -> io::Result<()> {
    if let AuditDestination::Off | AuditDestination::Stdout = target {
        return Ok(());
    }
    let trail = AuditLog::open(target, clock)?;
    tracing::subscriber::with_default(Registry::default().with(trail), || audit::record(event));
    Ok(())
}

/// Checks that a text is a valid log filter.
pub fn check_filter(text: &str) -> Result<(), InvalidFilter> {
    filter(text).map(|_| ())
}

fn filter(text: &str) -> Result<EnvFilter, InvalidFilter> {
    let directives: Vec<_> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        if directive.is_empty() {
            return Err(InvalidFilter::Empty);
        }
        if !directive.contains(['=', '[', ']', '{', '}']) && directive.parse::<LevelFilter>().is_err() {
            return Err(InvalidFilter::Level((*directive).to_owned()));
        }
    }
    let crates: Vec<String> = directives.iter().filter_map(|directive| for_crate(directive)).collect();
    let directives = directives.into_iter().chain(crates.iter().map(String::as_str));
    Ok(EnvFilter::try_new(directives.collect::<Vec<_>>().join(","))?)
}

/// The directive for the crate of a part of the program: `portcullis::auth=debug` also means `portcullis_auth=debug`.
/// The documented names of the parts do not depend on which of them are crates.
fn for_crate(directive: &str) -> Option<String> {
    directive.strip_prefix("portcullis::").map(|part| format!("portcullis_{part}"))
}

fn subscriber<W>(
    config: &Config,
    trail: Option<AuditLog>,
    colour: bool,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, InvalidFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer: Box<dyn Layer<Registry> + Send + Sync> = match config.format {
        LogFormat::Text => Box::new(layer.compact().with_ansi(colour)),
        LogFormat::Json => Box::new(layer.json().flatten_event(true).with_current_span(false)),
    };
    // Audit events go to the audit log only, and all others to the log only. Each layer has a maximum level hint;
    // without one, `tracing` would build every event of libraries that log each HTTP/2 frame, and then discard it.
    let not_of_trail = filter_fn(|metadata| !is_audit_event(metadata)).with_max_level_hint(LevelFilter::TRACE);
    let log = layer.with_filter(filter(&config.filter)?.and(not_of_trail));
    // The spans of this crate are included, because audit events get their fields.
    let for_trail = |metadata: &Metadata<'_>| {
        *metadata.level() <= Level::INFO && (is_audit_event(metadata) || metadata.is_span() && is_of_program(metadata))
    };
    let trail = trail.map(|trail| trail.with_filter(filter_fn(for_trail).with_max_level_hint(LevelFilter::INFO)));
    Ok(Box::new(Registry::default().with(log).with(trail)))
}

fn is_audit_event(metadata: &Metadata<'_>) -> bool {
    metadata.target() == audit::TARGET
}

fn is_of_program(metadata: &Metadata<'_>) -> bool {
    metadata.target().starts_with("portcullis")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn logged(format: LogFormat, filter: &str) -> String {
        let written = Arc::new(Mutex::new(Vec::new()));
        let config = Config { format, filter: filter.to_owned(), audit: AuditDestination::Off };
        let subscriber = subscriber(&config, None, false, Sink(written.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(user = "alice", "hello");
            tracing::debug!("whisper");
        });
        String::from_utf8(written.lock().unwrap().clone()).unwrap()
    }

    #[derive(Clone)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for Sink {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn text_is_one_line_without_colour_outside_a_terminal() {
        let text = logged(LogFormat::Text, "info");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("hello") && text.contains("alice") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line_with_the_fields_at_its_top() {
        let text = logged(LogFormat::Json, "info");
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((line["message"].as_str(), line["user"].as_str()), (Some("hello"), Some("alice")));
    }

    #[test]
    fn the_filter_decides_who_is_heard() {
        assert_eq!(logged(LogFormat::Text, "off"), "");
        assert_eq!(logged(LogFormat::Text, "warn,portcullis=debug").lines().count(), 2);
    }

    #[test]
    fn a_filter_for_a_part_of_the_program_applies_to_its_crate() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let config = Config {
            format: LogFormat::Text,
            filter: "warn,portcullis::auth=debug".to_owned(),
            audit: AuditDestination::Off,
        };
        let subscriber = subscriber(&config, None, false, Sink(log.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::debug!(target: "portcullis_auth::tokens", "of the crate");
            tracing::debug!(target: "portcullis::auth", "of the documented target");
            tracing::debug!(target: "portcullis_registry", "of another crate");
        });
        let log = String::from_utf8(log.lock().unwrap().clone()).unwrap();
        assert_eq!(log.lines().count(), 2, "{log}");
        assert!(!log.contains("of another crate"), "{log}");
    }

    #[test]
    fn a_misspelled_level_is_refused_and_not_taken_for_a_module() {
        assert!(matches!(check_filter("wran"), Err(InvalidFilter::Level(word)) if word == "wran"));
        assert!(matches!(check_filter("info,,"), Err(InvalidFilter::Empty)));
        assert!(matches!(check_filter("portcullis=loud"), Err(InvalidFilter::Directive(_))));
        assert!(check_filter("INFO, portcullis::auth=debug").is_ok());
        assert!(check_filter("info,portcullis[request{id=1}]=trace").is_ok());
    }

    fn trail_of(path: &std::path::Path, work: impl FnOnce()) -> String {
        let config = Config {
            format: LogFormat::Text,
            filter: "off".to_owned(),
            audit: AuditDestination::File(path.to_owned()),
        };
        let trail = AuditLog::open(&config.audit, Clock::system()).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let subscriber = subscriber(&config, trail, false, Sink(log.clone())).unwrap();
        tracing::subscriber::with_default(subscriber, work);
        assert!(log.lock().unwrap().is_empty(), "the log holds nothing of the trail");
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn an_event_is_a_line_with_what_the_spans_around_it_say_whatever_the_log_filters() {
        let folder = tempfile::tempdir().unwrap();
        let text = trail_of(&folder.path().join("audit.jsonl"), || {
            let span = tracing::error_span!("request", request = %7, peer = "192.0.2.1");
            span.in_scope(|| audit::record(&audit::AuditEvent::SignInRefused { user: "a\n\"b", reason: "wrong" }));
        });
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["event"].as_str(), line["user"].as_str()), (Some("sign_in_refused"), Some("a\n\"b")));
        assert_eq!((line["request"].as_str(), line["peer"].as_str()), (Some("7"), Some("192.0.2.1")));
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }

    #[test]
    fn what_libraries_say_of_every_frame_is_not_even_begun() {
        let folder = tempfile::tempdir().unwrap();
        let target = AuditDestination::File(folder.path().join("audit.jsonl"));
        let config = Config { format: LogFormat::Text, filter: "info".to_owned(), audit: target };
        let trail = AuditLog::open(&config.audit, Clock::system()).unwrap();
        let subscriber = subscriber(&config, trail, false, Sink(Arc::default())).unwrap();
        assert_eq!(subscriber.max_level_hint(), Some(LevelFilter::INFO));
        tracing::subscriber::with_default(subscriber, || {
            assert!(tracing::trace_span!(target: "h2", "frame").is_disabled());
        });
    }

    #[test]
    fn a_trail_that_was_moved_away_goes_on_under_its_name_and_nobody_else_reads_it() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (path, moved) = (folder.path().join("audit.jsonl"), folder.path().join("audit.jsonl.1"));
        let text = trail_of(&path, || {
            audit::record(&audit::AuditEvent::Stopped);
            std::fs::rename(&path, &moved).unwrap();
            audit::record(&audit::AuditEvent::Started { version: "1" });
        });
        assert!(std::fs::read_to_string(&moved).unwrap().contains("stopped"));
        assert!(text.contains("started") && !text.contains("stopped"), "{text}");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
