//! Writes the audit log to a file or to standard output, one JSON object per line.
//!
//! Invariant: lines are whole and in the order of the events. A line contains the fields of the event and of the spans
//! around it, and nothing else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use portcullis_access::audit;
use portcullis_clock::Clock;

/// The destination of the audit log (key `log.audit`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditDestination {
    /// No audit log is written.
    #[default]
    Off,
    /// Standard output, for machines on which a log collector reads it.
    Stdout,
    /// A file that is appended to. It may be moved away at any time (log rotation); the next line creates a new file.
    File(PathBuf),
}

impl FromStr for AuditDestination {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

/// A `tracing` layer that writes audit events to their destination.
pub(super) struct AuditLog {
    clock: Clock,
    sink: AuditSink,
    has_failed: AtomicBool,
}

enum AuditSink {
    Stdout,
    File(Mutex<RotatedFile>),
}

impl AuditLog {
    /// Opens the audit log, so that a server that cannot write one does not start; `None` if there is none.
    pub(super) fn open(target: &AuditDestination, clock: Clock) -> io::Result<Option<Self>> {
        let sink = match target {
            AuditDestination::Off => return Ok(None),
            AuditDestination::Stdout => AuditSink::Stdout,
            AuditDestination::File(path) => AuditSink::File(Mutex::new(RotatedFile::open(path)?)),
        };
        Ok(Some(Self { clock, sink, has_failed: AtomicBool::new(false) }))
    }

    /// Writes a line synchronously, on the thread of the event and before the response: asynchronous writing would lose
    /// lines in a crash, and a line costs only microseconds.
    fn write(&self, line: &str) {
        let written = match &self.sink {
            AuditSink::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            AuditSink::File(file) => file.lock().write(line),
        };
        let failed = written.is_err();
        if let (Err(error), false) = (&written, self.has_failed.swap(failed, Ordering::Relaxed)) {
            // The log cannot be used, because this function is called from it.
            let _ = writeln!(io::stderr(), "error: the audit trail cannot be written: {error}");
        }
    }
}

/// A file that is reopened by its path when it was moved away or replaced (log rotation).
struct RotatedFile {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
}

impl RotatedFile {
    fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let metadata = file.metadata()?;
        Ok(Self { path: path.to_owned(), identity: (metadata.dev(), metadata.ino()), file })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let there = std::fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if there != Some(self.identity) {
            *self = Self::open(&self.path)?;
        }
        // A single call, so that lines of two processes that append to one file do not mix.
        self.file.write_all(line.as_bytes())
    }
}

/// The fields of a span, stored in its extensions.
struct SpanFields(Map<String, Value>);

impl<S> Layer<S> for AuditLog
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut FieldCollector(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(SpanFields(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut FieldCollector(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        event.record(&mut FieldCollector(&mut fields));
        let Some(Value::String(record)) = fields.remove(audit::FIELD) else { return };
        let now = OffsetDateTime::from(self.clock.now()).format(&Rfc3339).unwrap_or_default();
        let mut line = Map::from_iter([("time".to_owned(), Value::String(now))]);
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(SpanFields(fields)) = span.extensions().get() {
                line.extend(fields.clone());
            }
        }
        // Fields of the event take precedence over fields of its spans.
        line.extend(serde_json::from_str::<Map<String, Value>>(&record).unwrap_or_default());
        self.write(&format!("{}\n", Value::Object(line)));
    }
}

struct FieldCollector<'a>(&'a mut Map<String, Value>);

impl Visit for FieldCollector<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
