//! Reads a password from the terminal, or from the first line of standard input.
//!
//! Invariant: a password is never echoed, and never read from a command-line argument, which every user of the machine
//! could see.

use std::io::{self, BufRead, IsTerminal, Read};

use zeroize::Zeroizing;

use crate::auth::Password;

/// Limit for the line of the password, in bytes; a large file that is piped in by mistake is not read to its end.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Whether the password will be stored or only compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PasswordPurpose {
    /// A new password: on a terminal the prompt is repeated, because the input is not echoed.
    New,
    /// A password to compare: the prompt appears once.
    Existing,
}

/// Reads the password of `user`: with `from_stdin` the first line of standard input, otherwise from the terminal.
pub(super) fn password(user: &str, purpose: PasswordPurpose, from_stdin: bool) -> Result<Password, PromptError> {
    if from_stdin {
        return first_line(&mut io::stdin().lock());
    }
    if !io::stdin().is_terminal() {
        return Err(PromptError::NoTerminal);
    }
    let ask = |prompt: String| rpassword::prompt_password(prompt).map(Password::new).map_err(PromptError::Read);
    match purpose {
        PasswordPurpose::Existing => ask(format!("Password for {user}: ")),
        PasswordPurpose::New => {
            let password = ask(format!("New password for {user}: "))?;
            let again = ask("Repeat the password: ".to_owned())?;
            if password.expose_bytes() == again.expose_bytes() { Ok(password) } else { Err(PromptError::Different) }
        }
    }
}

/// Reads the first line as a password, without its `\n` or `\r\n`.
pub(super) fn first_line(input: &mut dyn BufRead) -> Result<Password, PromptError> {
    let mut line = Zeroizing::new(Vec::new());
    input.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).map_err(PromptError::Read)?;
    let line = line.strip_suffix(b"\n").map_or(&line[..], |line| line.strip_suffix(b"\r").unwrap_or(line));
    let text = str::from_utf8(line).map_err(|_| PromptError::NotText)?;
    Ok(Password::new(text.to_owned()))
}

/// Why no password could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum PromptError {
    /// Standard input is not a terminal.
    #[error("there is no terminal to ask for the password on")]
    NoTerminal,
    /// The repetition differs from the password.
    #[error("the two passwords differ")]
    Different,
    /// The password is not UTF-8; clients send passwords as UTF-8.
    #[error("the password is not UTF-8 text")]
    NotText,
    /// Reading failed.
    #[error("the password cannot be read: {0}")]
    Read(#[source] io::Error),
}

impl PromptError {
    /// What the caller can do about the error.
    #[must_use]
    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NoTerminal | Self::Read(_) => "pipe the password in and add --password-stdin",
            Self::Different => "type the same password twice",
            Self::NotText => "clients send passwords as UTF-8",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_line_counts_and_only_its_end_is_taken_off() {
        let texts = [
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            ("secret", "secret"),
            ("secret\r", "secret\r"),
            (" a b \nc\n", " a b "),
            ("\n", ""),
            ("", ""),
        ];
        for (input, expected) in texts {
            let password = first_line(&mut input.as_bytes()).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(password.expose(), expected, "{input:?}");
        }
        assert!(matches!(first_line(&mut &b"\xff\n"[..]), Err(PromptError::NotText)));
    }
}
