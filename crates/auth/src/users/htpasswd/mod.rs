//! Parses and edits the content of an htpasswd file: lines of `name:hash`, comments, and lines that are neither.
//!
//! A hash of an unsupported scheme disables only its user, and so do two different passwords for one user; any other
//! invalid line makes the whole file unusable ([`LineProblemReason::makes_file_unusable`]). This module does no I/O.
//!
//! Invariant: [`Htpasswd::to_bytes`] returns every byte of the lines that were not edited.

mod line_problem;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::Arc,
};

use crate::{
    passwords::constant_effort::ConstantEffort,
    passwords::hash::{BcryptCost, InvalidHash, StoredHash},
};
use portcullis_access::UserName;

pub use line_problem::{LineProblem, LineProblemReason};

/// The UTF-8 byte order mark, which some editors write at the beginning of a file.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A parsed htpasswd file. Invalid lines are kept and listed by [`Htpasswd::problems`].
#[derive(Clone)]
pub struct Htpasswd {
    lines: Vec<HtpasswdLine>,
    users: HashMap<UserName, Arc<StoredHash>>,
    problems: Vec<LineProblem>,
    effort: ConstantEffort,
}

/// One line, including its line ending.
#[derive(Clone)]
struct HtpasswdLine {
    raw: Vec<u8>,
    /// The user of the line, even where its hash is invalid.
    user: Option<UserName>,
}

impl Htpasswd {
    /// The maximum size of the file in bytes: some hundred thousand users.
    pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// Parses the content of a file, which may be empty. It never fails; [`Htpasswd::problems`] lists the invalid
    /// lines.
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        Self::from_lines(content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    /// Every line that is neither a user who can sign in, a comment nor blank.
    #[must_use]
    pub fn problems(&self) -> &[LineProblem] {
        &self.problems
    }

    /// The problems that make the whole file unusable.
    pub fn fatal_problems(&self) -> impl Iterator<Item = &LineProblem> {
        self.problems.iter().filter(|problem| problem.reason.makes_file_unusable())
    }

    /// The hash of a user who can sign in.
    #[must_use]
    pub fn hash(&self, user: &UserName) -> Option<&Arc<StoredHash>> {
        self.users.get(user)
    }

    /// Whether there is a line of that user, even one with an invalid hash.
    #[must_use]
    pub fn has_line(&self, user: &UserName) -> bool {
        self.lines.iter().any(|line| line.user.as_ref() == Some(user))
    }

    /// The users who can sign in, in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &StoredHash)> {
        let mut listed = HashSet::new();
        self.lines.iter().filter_map(move |line| {
            let (user, hash) = self.users.get_key_value(line.user.as_ref()?)?;
            listed.insert(user).then_some((user, &**hash))
        })
    }

    /// Sets the hash of a user: replaces the user's line, moving a comment in it to a line above, or appends a new
    /// line.
    pub fn set_hash(&mut self, user: &UserName, hash: &StoredHash) {
        let mut lines = self.take_lines();
        let first = lines.iter().position(|line| line.user.as_ref() == Some(user));
        if let Some(first) = first {
            lines[first].raw = line_with_hash(&lines[first].raw, user, hash);
            // Further lines of the user are removed: two different passwords would disable the user.
            let mut index = 0..;
            lines.retain(|line| index.next() == Some(first) || line.user.as_ref() != Some(user));
        } else {
            if let Some(last) = lines.last_mut().filter(|line| !line.raw.ends_with(b"\n")) {
                last.raw.push(b'\n');
            }
            lines.push(HtpasswdLine { raw: format!("{user}:{}\n", hash.as_str()).into_bytes(), user: None });
        }
        // Parsed again as a whole, because one line may have become two.
        *self = Self::parse(&lines.into_iter().flat_map(|line| line.raw).collect::<Vec<_>>());
    }

    /// Removes the lines of a user, and returns whether there was one.
    pub fn remove(&mut self, user: &UserName) -> bool {
        let mut lines = self.take_lines();
        let before = lines.len();
        lines.retain(|line| line.user.as_ref() != Some(user));
        let removed = lines.len() < before;
        *self = Self::from_lines(lines.into_iter().map(|line| line.raw).collect());
        removed
    }

    /// The content of the file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.raw).copied().collect()
    }

    /// The bcrypt cost for new hashes: the highest in this file, or the default where there is none.
    #[must_use]
    pub fn bcrypt_cost(&self) -> BcryptCost {
        self.effort.bcrypt_cost()
    }

    pub(crate) fn effort(&self) -> ConstantEffort {
        self.effort
    }

    fn take_lines(&mut self) -> Vec<HtpasswdLine> {
        std::mem::take(&mut self.lines)
    }

    fn from_lines(raw: Vec<Vec<u8>>) -> Self {
        let mut lines = Vec::with_capacity(raw.len());
        let mut problems = Vec::new();
        let mut seen: HashMap<UserName, UserLines> = HashMap::new();
        for (number, raw) in (1..).zip(raw) {
            let user = match parse_line(line_content(&raw, number)) {
                ParsedLine::Ignored => None,
                ParsedLine::Unusable(reason) => {
                    problems.push(LineProblem { line: number, user: None, reason });
                    None
                }
                ParsedLine::User(user, hash) => {
                    let reason = UserLines::add(&mut seen, &user, hash, number);
                    problems.extend(reason.map(|reason| LineProblem {
                        line: number,
                        user: Some(user.clone()),
                        reason,
                    }));
                    Some(user)
                }
            };
            lines.push(HtpasswdLine { raw, user });
        }
        let usable = seen.into_iter().filter_map(|(user, seen)| Some((user, Arc::new(seen.hash?))));
        let users: HashMap<_, _> = usable.collect();
        let effort = ConstantEffort::from_hash_kinds(users.values().map(|hash| hash.kind()));
        Self { lines, users, problems, effort }
    }
}

/// The result of the lines of one user so far.
struct UserLines {
    first: usize,
    /// `None` if the user cannot sign in.
    hash: Option<StoredHash>,
}

impl UserLines {
    /// Adds a line of a user, and returns why it is invalid, or `None` if it is valid.
    fn add(
        users: &mut HashMap<UserName, Self>,
        user: &UserName,
        hash: Result<StoredHash, InvalidHash>,
        line: usize,
    ) -> Option<LineProblemReason> {
        let Some(known) = users.get_mut(user) else {
            let (hash, reason) = hash.map_or_else(|reason| (None, Some(reason.into())), |hash| (Some(hash), None));
            users.insert(user.clone(), Self { first: line, hash });
            return reason;
        };
        match hash {
            Ok(hash) if known.hash.as_ref().is_some_and(|known| known.is_same(&hash)) => None,
            Err(reason) if !reason.disables_only_its_user() => Some(reason.into()),
            Ok(_) | Err(_) => {
                known.hash = None;
                Some(LineProblemReason::Duplicate { user: user.clone(), first: known.first })
            }
        }
    }
}

enum ParsedLine {
    /// A comment or a blank line.
    Ignored,
    Unusable(LineProblemReason),
    User(UserName, Result<StoredHash, InvalidHash>),
}

/// The content of a line without its line ending, and without the byte order mark that the first line may begin with.
fn line_content(raw: &[u8], number: usize) -> &[u8] {
    let raw = if number == 1 { raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw) } else { raw };
    raw.trim_ascii_end()
}

fn parse_line(content: &[u8]) -> ParsedLine {
    if content.is_empty() || content.trim_ascii_start().starts_with(b"#") {
        return ParsedLine::Ignored;
    }
    // The comment after a second colon, which nginx and Apache ignore, may be in any encoding.
    let mut fields = content.splitn(3, |byte| *byte == b':');
    let (Some(name), Some(hash)) = (fields.next(), fields.next()) else {
        return ParsedLine::Unusable(LineProblemReason::NoColon);
    };
    let Ok(name) = str::from_utf8(name) else {
        return ParsedLine::Unusable(LineProblemReason::NotUtf8);
    };
    match name.parse() {
        Ok(user) => ParsedLine::User(user, parse_hash(hash.trim_ascii_end())),
        Err(reason) => ParsedLine::Unusable(LineProblemReason::Name(reason)),
    }
}

fn parse_hash(field: &[u8]) -> Result<StoredHash, InvalidHash> {
    str::from_utf8(field).map_err(|_| InvalidHash::Unknown)?.parse()
}

/// The line of a user with another hash, its comment moved to a line above: httpd and nginx read `name:hash:comment`,
/// but Apache's `htpasswd -v` reads the comment as part of the hash, and the CR of a CRLF too.
fn line_with_hash(raw: &[u8], user: &UserName, hash: &StoredHash) -> Vec<u8> {
    let comment = raw.trim_ascii_end().splitn(3, |byte| *byte == b':').nth(2).map(<[u8]>::trim_ascii);
    let mut lines = Vec::new();
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        lines.extend(format!("# {user}: ").into_bytes());
        lines.extend(comment);
        lines.push(b'\n');
    }
    lines.extend(format!("{user}:{}\n", hash.as_str()).into_bytes());
    lines
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({} users)", self.users.len())
    }
}

#[cfg(test)]
mod tests;
