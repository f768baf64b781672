//! The value types of settings: each parses a value, describes itself for the reference, and explains an invalid value.
//!
//! Invariant: the bounds that a type enforces are the bounds that its description states, because both come from the
//! same fields.

use std::path::PathBuf;

use super::{
    did_you_mean,
    problem::{ConfigProblem, quote},
    value::{Located, RawValue, TextShape},
};

/// The type of a setting's value.
pub(super) trait ValueType: Sync {
    /// The parsed value.
    type Value;

    /// The type as a noun with its article: `a duration between 1s and 5m`.
    fn noun(&self) -> String;

    /// An example of a value, in TOML notation.
    fn example(&self) -> String;

    /// The TOML type that the text of a variable is converted to.
    fn shape(&self) -> TextShape {
        TextShape::Text
    }

    /// Parses the value, or returns every problem of it.
    fn read(&self, raw: &Located<RawValue>) -> Result<Self::Value, Vec<ConfigProblem>>;

    /// The problem of a value that has another type or is out of bounds.
    fn mismatch(&self, raw: &Located<RawValue>) -> Vec<ConfigProblem> {
        let message = format!("expected {}, found {}", self.noun(), raw.value.description());
        vec![raw.problem(message).hint(format!("for example {}", self.example()))]
    }
}

/// A text with a parser.
pub(super) struct ParsedText<T> {
    pub(super) noun: &'static str,
    /// An example, without quotes.
    pub(super) example: &'static str,
    pub(super) parse: fn(&str) -> Result<T, InvalidText>,
}

/// Why a parser rejected a text, and a hint if it has a better one than the example.
pub(super) struct InvalidText {
    pub(super) reason: String,
    pub(super) hint: Option<String>,
}

impl<E: std::error::Error> From<E> for InvalidText {
    fn from(error: E) -> Self {
        Self { reason: error.to_string(), hint: None }
    }
}

impl<T> ValueType for ParsedText<T> {
    type Value = T;

    fn noun(&self) -> String {
        self.noun.to_owned()
    }

    fn example(&self) -> String {
        format!("\"{}\"", self.example)
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<T, Vec<ConfigProblem>> {
        let RawValue::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        (self.parse)(text).map_err(|fault| {
            let hint = fault.hint.unwrap_or_else(|| format!("for example {}", self.example()));
            vec![raw.problem(format!("{}: {}", quote(text), fault.reason)).hint(hint)]
        })
    }
}

/// The path of a file or folder, relative to the working directory.
pub(super) struct FilePath {
    pub(super) example: &'static str,
}

impl ValueType for FilePath {
    type Value = PathBuf;

    fn noun(&self) -> String {
        "a path".to_owned()
    }

    fn example(&self) -> String {
        format!("\"{}\"", self.example)
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<PathBuf, Vec<ConfigProblem>> {
        let path = match &raw.value {
            RawValue::Text(text) => PathBuf::from(text),
            RawValue::Path(path) => path.clone(),
            RawValue::Integer(_)
            | RawValue::Boolean(_)
            | RawValue::List(_)
            | RawValue::Table(_)
            | RawValue::Other(_) => {
                return Err(self.mismatch(raw));
            }
        };
        let unusable = path.as_os_str().is_empty() || path.as_os_str().as_encoded_bytes().contains(&0);
        if unusable { Err(self.mismatch(raw)) } else { Ok(path) }
    }
}

/// A whole number between two bounds, inclusive.
pub(super) struct WholeNumber {
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) example: usize,
}

impl ValueType for WholeNumber {
    type Value = usize;

    fn noun(&self) -> String {
        format!("a whole number between {} and {}", self.min, self.max)
    }

    fn example(&self) -> String {
        self.example.to_string()
    }

    fn shape(&self) -> TextShape {
        TextShape::Integer
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<usize, Vec<ConfigProblem>> {
        let RawValue::Integer(number) = &raw.value else { return Err(self.mismatch(raw)) };
        let count = usize::try_from(*number).ok().filter(|count| (self.min..=self.max).contains(count));
        count.ok_or_else(|| self.mismatch(raw))
    }
}

/// A boolean, `true` or `false`.
pub(super) struct Boolean;

impl ValueType for Boolean {
    type Value = bool;

    fn noun(&self) -> String {
        "true or false".to_owned()
    }

    fn example(&self) -> String {
        "true".to_owned()
    }

    fn shape(&self) -> TextShape {
        TextShape::Boolean
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<bool, Vec<ConfigProblem>> {
        if let RawValue::Boolean(value) = raw.value { Ok(value) } else { Err(self.mismatch(raw)) }
    }
}

/// One of several words, each with its value.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + Sync> ValueType for Choice<T> {
    type Value = T;

    fn noun(&self) -> String {
        let words: Vec<_> = self.0.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        words.join(" or ")
    }

    fn example(&self) -> String {
        self.0.first().map(|(word, _)| format!("\"{word}\"")).unwrap_or_default()
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<T, Vec<ConfigProblem>> {
        let RawValue::Text(text) = &raw.value else { return Err(self.mismatch(raw)) };
        if let Some((_, value)) = self.0.iter().find(|(word, _)| word == text) {
            return Ok(*value);
        }
        let problem = raw.problem(format!("expected {}, found {}", self.noun(), quote(text)));
        let nearest = did_you_mean::nearest(text, self.0.iter().map(|(word, _)| *word));
        Err(vec![match nearest {
            Some(word) => problem.hint(format!("did you mean \"{word}\"?")),
            None => problem.hint(format!("for example {}", self.example())),
        }])
    }
}

/// A list of values of one type.
pub(super) struct ListOf<K> {
    pub(super) element: K,
    /// The elements as a noun in the plural.
    pub(super) noun: &'static str,
    pub(super) may_be_empty: bool,
}

impl<K: ValueType> ValueType for ListOf<K> {
    type Value = Vec<K::Value>;

    fn noun(&self) -> String {
        format!("a list of {}", self.noun)
    }

    fn example(&self) -> String {
        format!("[{}]", self.element.example())
    }

    fn shape(&self) -> TextShape {
        TextShape::List
    }

    fn read(&self, raw: &Located<RawValue>) -> Result<Vec<K::Value>, Vec<ConfigProblem>> {
        let elements = match &raw.value {
            RawValue::List(elements) => elements,
            RawValue::Text(text) => {
                let problem = raw.problem(format!("expected {}, found {}", self.noun(), quote(text)));
                return Err(vec![problem.hint(format!("write it in brackets: [{}]", quote(text)))]);
            }
            RawValue::Path(_)
            | RawValue::Integer(_)
            | RawValue::Boolean(_)
            | RawValue::Table(_)
            | RawValue::Other(_) => {
                return Err(self.mismatch(raw));
            }
        };
        if elements.is_empty() && !self.may_be_empty {
            let problem = raw.problem(format!("expected {}, found an empty list", self.noun()));
            return Err(vec![problem.hint(format!("for example {}", self.example()))]);
        }
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for element in elements {
            match self.element.read(element) {
                Ok(value) => values.push(value),
                Err(found) => problems.extend(found),
            }
        }
        if problems.is_empty() { Ok(values) } else { Err(problems) }
    }
}
