//! Where the audit trail is written: a file or standard output, an object a line.
//!
//! Invariant: a line is whole, in the order in which things happened, and holds what the event and the span around it say and
//! nothing else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Map, Value};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, layer::Context, registry::LookupSpan};

use crate::audit;

/// Where the audit trail goes (key `log.audit`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output, for machines where something collects it.
    Stdout,
    /// The end of a file, which may be moved away at any time: the next line makes a new one.
    File(PathBuf),
}

impl FromStr for Target {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }
}

/// Writes events to where they belong.
pub(super) struct Trail {
    sink: Sink,
    has_failed: AtomicBool,
}

enum Sink {
    Stdout,
    File(Mutex<Followed>),
}

impl Trail {
    /// Opens the trail, so that a server that could not keep one does not start; `None` where there is to be none.
    pub(super) fn open(target: &Target) -> io::Result<Option<Self>> {
        let sink = match target {
            Target::Off => return Ok(None),
            Target::Stdout => Sink::Stdout,
            Target::File(path) => Sink::File(Mutex::new(Followed::open(path)?)),
        };
        Ok(Some(Self { sink, has_failed: AtomicBool::new(false) }))
    }

    /// Written before whatever happened is answered, on the thread where it happened: a trail that lags behind is one with
    /// holes after a crash, and a line costs microseconds.
    fn write(&self, line: &str) {
        let written = match &self.sink {
            Sink::Stdout => io::stdout().lock().write_all(line.as_bytes()),
            Sink::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).write(line),
        };
        let failed = written.is_err();
        if let (Err(error), false) = (&written, self.has_failed.swap(failed, Ordering::Relaxed)) {
            // Not by way of the log, which is where this is called from.
            let _ = writeln!(io::stderr(), "error: the audit trail cannot be written: {error}");
        }
    }
}

/// A file that is appended to under its name: when the name means another file, or none, that one is written to.
struct Followed {
    path: PathBuf,
    file: File,
    identity: (u64, u64),
}

impl Followed {
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
        // One call: lines of two processes that append to one file do not mix.
        self.file.write_all(line.as_bytes())
    }
}

/// What the spans around an event say of it.
struct Surroundings(Map<String, Value>);

impl<S> Layer<S> for Trail
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Map::new();
        attributes.record(&mut Fields(&mut fields));
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Surroundings(fields));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(Surroundings(fields)) = span.extensions_mut().get_mut()
        {
            values.record(&mut Fields(fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Map::new();
        event.record(&mut Fields(&mut fields));
        let Some(Value::String(record)) = fields.remove(audit::FIELD) else { return };
        let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let mut line = Map::from_iter([("time".to_owned(), Value::String(now))]);
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(Surroundings(fields)) = span.extensions().get() {
                line.extend(fields.clone());
            }
        }
        // What the event says itself counts more than what is said around it.
        line.extend(serde_json::from_str::<Map<String, Value>>(&record).unwrap_or_default());
        self.write(&format!("{}\n", Value::Object(line)));
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").into());
    }
}
