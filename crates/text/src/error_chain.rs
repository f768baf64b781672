//! Prints an error with its causes on one line.

use std::error::Error;

/// An error and its sources, separated by colons. A source is left out if its text is already there, because many
/// errors include the message of their source.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let message = cause.to_string();
        if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum TestError {
        #[error("the request failed")]
        Request(#[source] Box<TestError>),
        #[error("the file cannot be read: {0}")]
        Read(#[source] io::Error),
    }

    #[test]
    fn every_cause_is_printed_once() {
        let read = TestError::Read(io::Error::other("no such device"));
        assert_eq!(error_chain(&read), "the file cannot be read: no such device");
        let request = TestError::Request(Box::new(read));
        assert_eq!(error_chain(&request), "the request failed: the file cannot be read: no such device");
    }
}
