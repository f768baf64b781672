//! What kinds of values settings have: how each is read, described and explained when it is wrong.
//!
//! Invariant: the bounds that a kind enforces are the bounds that its description states, for both come from the same
//! fields.

use std::path::PathBuf;

use super::{
    problem::{Problem, quote},
    raw::{Located, Raw, Shape},
    suggest,
};

/// A kind of value.
pub(super) trait Kind: Sync {
    /// What it becomes.
    type Value;

    /// With its article: `a duration between 1s and 5m`.
    fn noun(&self) -> String;

    /// One value as TOML spells it.
    fn example(&self) -> String;

    /// How bare text is taken.
    fn shape(&self) -> Shape {
        Shape::Text
    }

    /// The value, or everything that is wrong with it.
    fn read(&self, raw: &Located<Raw>) -> Result<Self::Value, Vec<Problem>>;

    /// The error for a value of another type.
    fn mismatch(&self, raw: &Located<Raw>) -> Vec<Problem> {
        let message = format!("expected {}, found {}", self.noun(), raw.value.description());
        vec![raw.problem(message).hint(format!("for example {}", self.example()))]
    }
}

/// Text that some parser takes.
pub(super) struct Word<T> {
    pub(super) noun: &'static str,
    /// Without quotes.
    pub(super) example: &'static str,
    pub(super) parse: fn(&str) -> Result<T, Fault>,
}

/// Why a parser refused a text.
pub(super) struct Fault {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl<E: std::error::Error> From<E> for Fault {
    fn from(error: E) -> Self {
        Self { reason: error.to_string(), hint: None }
    }
}

impl<T> Kind for Word<T> {
    type Value = T;

    fn noun(&self) -> String {
        self.noun.to_owned()
    }

    fn example(&self) -> String {
        format!("\"{}\"", self.example)
    }

    fn read(&self, raw: &Located<Raw>) -> Result<T, Vec<Problem>> {
        let Raw::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        (self.parse)(text).map_err(|fault| {
            let hint = fault.hint.unwrap_or_else(|| format!("for example {}", self.example()));
            vec![raw.problem(format!("{}: {}", quote(text), fault.reason)).hint(hint)]
        })
    }
}

/// A file or folder, relative to the working directory.
pub(super) struct Path {
    pub(super) example: &'static str,
}

impl Kind for Path {
    type Value = PathBuf;

    fn noun(&self) -> String {
        "a path".to_owned()
    }

    fn example(&self) -> String {
        format!("\"{}\"", self.example)
    }

    fn read(&self, raw: &Located<Raw>) -> Result<PathBuf, Vec<Problem>> {
        let path = match &raw.value {
            Raw::Text(text) => PathBuf::from(text),
            Raw::Path(path) => path.clone(),
            Raw::Integer(_) | Raw::Boolean(_) | Raw::List(_) | Raw::Table(_) | Raw::Other(_) => {
                return Err(self.mismatch(raw));
            }
        };
        let unusable = path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0);
        if unusable { Err(self.mismatch(raw)) } else { Ok(path) }
    }
}

/// A number of things.
pub(super) struct Count {
    pub(super) least: usize,
    pub(super) most: usize,
    pub(super) example: usize,
}

impl Kind for Count {
    type Value = usize;

    fn noun(&self) -> String {
        format!("a whole number between {} and {}", self.least, self.most)
    }

    fn example(&self) -> String {
        self.example.to_string()
    }

    fn shape(&self) -> Shape {
        Shape::Integer
    }

    fn read(&self, raw: &Located<Raw>) -> Result<usize, Vec<Problem>> {
        let Raw::Integer(number) = &raw.value else { return Err(self.mismatch(raw)) };
        let count = usize::try_from(*number).ok().filter(|count| (self.least..=self.most).contains(count));
        count.ok_or_else(|| self.mismatch(raw))
    }
}

/// `true` or `false`.
pub(super) struct Switch;

impl Kind for Switch {
    type Value = bool;

    fn noun(&self) -> String {
        "true or false".to_owned()
    }

    fn example(&self) -> String {
        "true".to_owned()
    }

    fn shape(&self) -> Shape {
        Shape::Boolean
    }

    fn read(&self, raw: &Located<Raw>) -> Result<bool, Vec<Problem>> {
        if let Raw::Boolean(value) = raw.value { Ok(value) } else { Err(self.mismatch(raw)) }
    }
}

/// One of a few words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> Kind for Choice<T> {
    type Value = T;

    fn noun(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        words.join(" or ")
    }

    fn example(&self) -> String {
        self.0.first().map(|(word, _)| format!("\"{word}\"")).unwrap_or_default()
    }

    fn read(&self, raw: &Located<Raw>) -> Result<T, Vec<Problem>> {
        let Raw::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        if let Some((_, value)) = self.0.iter().find(|(word, _)| word == text) {
            return Ok(*value);
        }
        let problem = raw.problem(format!("expected {}, found {}", self.noun(), quote(text)));
        let nearest = suggest::nearest(text, self.0.iter().map(|(word, _)| *word));
        Err(vec![match nearest {
            Some(word) => problem.hint(format!("did you mean \"{word}\"?")),
            None => problem.hint(format!("for example {}", self.example())),
        }])
    }
}

/// Any number of values of one kind.
pub(super) struct List<K> {
    pub(super) of: K,
    /// In the plural.
    pub(super) noun: &'static str,
    pub(super) may_be_empty: bool,
}

impl<K: Kind> Kind for List<K> {
    type Value = Vec<K::Value>;

    fn noun(&self) -> String {
        format!("a list of {}", self.noun)
    }

    fn example(&self) -> String {
        format!("[{}]", self.of.example())
    }

    fn shape(&self) -> Shape {
        Shape::List
    }

    fn read(&self, raw: &Located<Raw>) -> Result<Vec<K::Value>, Vec<Problem>> {
        let elements = match &raw.value {
            Raw::List(elements) => elements,
            Raw::Text(text) => {
                let problem = raw.problem(format!("expected {}, found {}", self.noun(), quote(text)));
                return Err(vec![problem.hint(format!("put it in brackets: [{}]", quote(text)))]);
            }
            Raw::Path(_) | Raw::Integer(_) | Raw::Boolean(_) | Raw::Table(_) | Raw::Other(_) => {
                return Err(self.mismatch(raw));
            }
        };
        if elements.is_empty() && !self.may_be_empty {
            let problem = raw.problem(format!("expected {}, found an empty list", self.noun()));
            return Err(vec![problem.hint(format!("for example {}", self.example()))]);
        }
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for element in elements {
            match self.of.read(element) {
                Ok(value) => values.push(value),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}
