//! An htpasswd file: `name:hash` lines, comments, and whatever else somebody wrote there.
//!
//! Engines' floor, no I/O. Invariant: [`Htpasswd::to_bytes`] gives back every byte of the lines that were not asked to change.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{
    effort::Effort,
    hash::{Cost, InvalidHash, StoredHash},
};
use crate::access::{InvalidUserName, UserName};

/// What some editors put in front of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A parsed file. Lines that are not understood are kept and named by [`Htpasswd::problems`].
#[derive(Clone)]
pub struct Htpasswd {
    lines: Vec<Line>,
    users: HashMap<UserName, Arc<StoredHash>>,
    problems: Vec<Problem>,
    effort: Effort,
}

/// One line, its end included.
#[derive(Clone)]
struct Line {
    raw: Vec<u8>,
    /// Whose line it is, even where its hash is not understood.
    user: Option<UserName>,
}

impl Htpasswd {
    /// The largest file that is read: some hundred thousand users.
    pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// Reads a file's content, which may be empty. Never fails: see [`Htpasswd::problems`].
    #[must_use]
    pub fn parse(content: &[u8]) -> Self {
        Self::from_lines(content.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
    }

    /// Every line that is neither a user, a comment nor blank. A gate takes no file that has any.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The hash of a user.
    #[must_use]
    pub fn hash(&self, user: &UserName) -> Option<&Arc<StoredHash>> {
        self.users.get(user)
    }

    /// Whether there is a line of that name, even one whose hash is not understood.
    #[must_use]
    pub fn has_line(&self, user: &UserName) -> bool {
        self.lines.iter().any(|line| line.user.as_ref() == Some(user))
    }

    /// The users in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = (&UserName, &StoredHash)> {
        self.lines.iter().filter_map(|line| {
            let (user, hash) = self.users.get_key_value(line.user.as_ref()?)?;
            Some((user, &**hash))
        })
    }

    /// Gives a user this hash: in the place of the user's line, a comment in it kept above, or in a new line at the end.
    pub fn set(&mut self, user: &UserName, hash: &StoredHash) {
        let mut lines = self.take_lines();
        let first = lines.iter().position(|line| line.user.as_ref() == Some(user));
        if let Some(first) = first {
            lines[first].raw = with_hash(&lines[first].raw, user, hash);
            // The user wants one password; a second line of the same name would keep the file from loading.
            let mut index = 0..;
            lines.retain(|line| index.next() == Some(first) || line.user.as_ref() != Some(user));
        } else {
            if let Some(last) = lines.last_mut().filter(|line| !line.raw.ends_with(b"\n")) {
                last.raw.push(b'\n');
            }
            lines.push(Line { raw: format!("{user}:{}\n", hash.text()).into_bytes(), user: None });
        }
        // Read again as a whole, because one line may have become two.
        *self = Self::parse(&lines.into_iter().flat_map(|line| line.raw).collect::<Vec<_>>());
    }

    /// Takes a user's lines out, and says whether there was one.
    pub fn remove(&mut self, user: &UserName) -> bool {
        let mut lines = self.take_lines();
        let before = lines.len();
        lines.retain(|line| line.user.as_ref() != Some(user));
        let removed = lines.len() < before;
        *self = Self::from_lines(lines.into_iter().map(|line| line.raw).collect());
        removed
    }

    /// The file's content.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| &line.raw).copied().collect()
    }

    /// The bcrypt cost that somebody chose for this file, for hashes to come.
    #[must_use]
    pub fn bcrypt_cost(&self) -> Cost {
        self.effort.bcrypt_cost()
    }

    pub(super) fn effort(&self) -> Effort {
        self.effort
    }

    fn take_lines(&mut self) -> Vec<Line> {
        std::mem::take(&mut self.lines)
    }

    fn from_lines(raw: Vec<Vec<u8>>) -> Self {
        let mut lines = Vec::with_capacity(raw.len());
        let mut users = HashMap::new();
        let mut problems = Vec::new();
        let mut seen: HashMap<UserName, usize> = HashMap::new();
        for (number, raw) in (1..).zip(raw) {
            let (user, hash) = match parse_line(content_of(&raw, number)) {
                Parsed::Other => (None, None),
                Parsed::Unreadable(reason) => {
                    problems.push(Problem { line: number, reason });
                    (None, None)
                }
                Parsed::User(user, hash) => {
                    let hash = hash.map_err(|reason| problems.push(Problem { line: number, reason: reason.into() }));
                    (Some(user), hash.ok())
                }
            };
            if let Some(user) = &user {
                if let Some(first) = seen.get(user) {
                    let reason = Reason::Duplicate { user: user.clone(), first: *first };
                    problems.push(Problem { line: number, reason });
                } else {
                    seen.insert(user.clone(), number);
                    users.extend(hash.map(|hash| (user.clone(), Arc::new(hash))));
                }
            }
            lines.push(Line { raw, user });
        }
        let effort = Effort::covering(users.values().map(|hash| hash.kind()));
        Self { lines, users, problems, effort }
    }
}

enum Parsed {
    /// A comment or a blank line.
    Other,
    Unreadable(Reason),
    User(UserName, Result<StoredHash, InvalidHash>),
}

/// A line without its end, and without the mark that the first one may begin with.
fn content_of(raw: &[u8], number: usize) -> &[u8] {
    let raw = if number == 1 { raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(raw) } else { raw };
    raw.trim_ascii_end()
}

fn parse_line(content: &[u8]) -> Parsed {
    if content.is_empty() || content.trim_ascii_start().starts_with(b"#") {
        return Parsed::Other;
    }
    let Ok(text) = str::from_utf8(content) else {
        return Parsed::Unreadable(Reason::NotText);
    };
    let Some((name, rest)) = text.split_once(':') else {
        return Parsed::Unreadable(Reason::NoColon);
    };
    match name.parse() {
        Ok(user) => Parsed::User(user, hash_field(rest).trim_ascii_end().parse()),
        Err(reason) => Parsed::Unreadable(Reason::Name(reason)),
    }
}

/// nginx and Apache both take a comment after a second colon.
fn hash_field(rest: &str) -> &str {
    rest.split_once(':').map_or(rest, |(hash, _)| hash)
}

/// A user's line with another hash, its comment moved to a line above: httpd and nginx read `name:hash:comment`, but
/// Apache's `htpasswd -v` takes the comment for a part of the hash, as it does with the CR of a CRLF.
fn with_hash(raw: &[u8], user: &UserName, hash: &StoredHash) -> Vec<u8> {
    let comment = raw.trim_ascii_end().splitn(3, |byte| *byte == b':').nth(2).map(<[u8]>::trim_ascii);
    let mut lines = Vec::new();
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        lines.extend(format!("# {user}: ").into_bytes());
        lines.extend(comment);
        lines.push(b'\n');
    }
    lines.extend(format!("{user}:{}\n", hash.text()).into_bytes());
    lines
}

impl fmt::Debug for Htpasswd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Htpasswd({} users)", self.users.len())
    }
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: Reason,
}

/// Why a line is not a user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Bytes that are not UTF-8, in which names are compared with what clients send.
    #[error("the line is not UTF-8 text")]
    NotText,
    /// No colon.
    #[error("a line reads `name:hash`, and this one has no ':'")]
    NoColon,
    /// The part before the colon is not a name.
    #[error(transparent)]
    Name(#[from] InvalidUserName),
    /// The part after the colon is not a hash.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
    /// A name for the second time: two programs would disagree about which one counts.
    #[error("the user {user:?} already stands in line {first}", user = .user.as_str())]
    Duplicate {
        /// The name.
        user: UserName,
        /// Its first line.
        first: usize,
    },
}

impl Reason {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NotText => "save the file as UTF-8",
            Self::NoColon => "put a '#' in front if this is a comment, or add the user with `portcullis user add NAME`",
            Self::Name(_) => "rename the user, or put a '#' in front of the line",
            Self::Hash(reason) => reason.hint(),
            Self::Duplicate { .. } => "remove one of the two lines",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "$2y$04$s.EvLY31H.B43lL34SzoCu8Vf./Igqvf.DOR2DQecjDbgqfZH/.Qu";
    const OTHER: &str = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=";

    fn name(text: &str) -> UserName {
        text.parse().unwrap()
    }

    fn hash(text: &str) -> StoredHash {
        text.parse().unwrap()
    }

    #[test]
    fn users_comments_and_blank_lines_are_read_whatever_ends_them() {
        let content = format!("\u{feff}# people\r\nalice:{SECRET}\r\n\r\n  # more\nbob:{OTHER}:from the old host");
        let file = Htpasswd::parse(content.as_bytes());
        assert_eq!(file.problems(), []);
        assert_eq!(file.users().map(|(user, _)| user.as_str()).collect::<Vec<_>>(), ["alice", "bob"]);
        assert_eq!(file.to_bytes(), content.as_bytes());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_name() {
        let file = Htpasswd::parse(format!("\u{feff}alice:{SECRET}\n").as_bytes());
        assert!(file.hash(&name("alice")).is_some());
    }

    #[test]
    fn an_empty_file_has_no_users_and_no_problems() {
        let file = Htpasswd::parse(b"");
        assert_eq!((file.users().count(), file.problems()), (0, &[][..]));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let content =
            format!("hello\nalice:{SECRET}\nb@d\n*:{SECRET}\nbob:secret\ncarol:$y$j9T$x\nalice:{OTHER}\ndave:\n");
        let mut content = content.into_bytes();
        content.extend(b"\xff:x\n");
        let messages: Vec<_> = Htpasswd::parse(&content).problems().iter().map(ToString::to_string).collect();
        assert_eq!(
            messages,
            [
                "line 1: a line reads `name:hash`, and this one has no ':'",
                "line 3: a line reads `name:hash`, and this one has no ':'",
                "line 4: '*', 'anonymous' and names that begin with '@' or '#' are reserved",
                "line 5: this is no hash of a known format (a password in the clear, or the old DES crypt)",
                "line 6: yescrypt hashes are not supported",
                "line 7: the user \"alice\" already stands in line 2",
                "line 8: there is no password hash after the ':'",
                "line 9: the line is not UTF-8 text",
            ]
        );
    }

    #[test]
    fn a_changed_user_keeps_place_and_comment() {
        let mut file = Htpasswd::parse(format!("# a\r\nalice:{SECRET}:admin\r\n\r\nbob:{OTHER}").as_bytes());
        file.set(&name("alice"), &hash(OTHER));
        file.set(&name("carol"), &hash(SECRET));
        let expected = format!("# a\r\n# alice: admin\nalice:{OTHER}\n\r\nbob:{OTHER}\ncarol:{SECRET}\n");
        assert_eq!(String::from_utf8(file.to_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_new_password_mends_a_broken_or_doubled_line() {
        let mut file = Htpasswd::parse(format!("alice:plain\n# x\nalice:{OTHER}\n").as_bytes());
        file.set(&name("alice"), &hash(SECRET));
        assert_eq!(file.to_bytes(), format!("alice:{SECRET}\n# x\n").as_bytes());
        assert_eq!(file.problems(), []);
    }

    #[test]
    fn a_removed_user_takes_nothing_else_along() {
        let mut file = Htpasswd::parse(format!("# alice:\nalice:{SECRET}\nalice2:{SECRET}").as_bytes());
        assert!(file.remove(&name("alice")));
        assert!(!file.remove(&name("alice")));
        assert_eq!(file.to_bytes(), format!("# alice:\nalice2:{SECRET}").as_bytes());
    }

    fn any_line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..20),
            "[ #a-z:$]{0,12}\r?\n?".prop_map(String::into_bytes),
            "(\u{feff})?[b-d]:(\\{SHA\\}5en6G6MezRroT3XKqkdPOmY/BfQ=|x)(:note)?\r?\n".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #[test]
        fn a_file_that_is_not_changed_keeps_every_byte(lines in proptest::collection::vec(any_line(), 0..8)) {
            let content = lines.concat();
            prop_assert_eq!(Htpasswd::parse(&content).to_bytes(), content);
        }

        #[test]
        fn adding_and_removing_a_user_leaves_every_other_line_as_it_was(lines in proptest::collection::vec(any_line(), 0..8)) {
            let user = name("a new user");
            let content = lines.concat();
            let mut file = Htpasswd::parse(&content);
            file.set(&user, &hash(SECRET));
            prop_assert!(file.hash(&user).is_some());
            let mut expected = content;
            if !expected.is_empty() && !expected.ends_with(b"\n") {
                expected.push(b'\n');
            }
            prop_assert!(file.to_bytes().starts_with(&expected));
            prop_assert!(file.remove(&user));
            prop_assert_eq!(file.to_bytes(), expected);
        }
    }
}
