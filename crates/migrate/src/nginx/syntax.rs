//! Parses nginx's configuration syntax: words, quotes, comments, blocks.
//!
//! Invariant: every directive has its line, nesting is bounded, and unterminated blocks, strings and directives are
//! refused with their line.

use super::super::report::ParseError;

/// The maximum depth of nested blocks.
const MAX_BLOCK_DEPTH: usize = 12;

const HINT: &str = "`nginx -t` says whether nginx itself can read the file";

/// One directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Directive {
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) arguments: Vec<String>,
    /// The directives between its braces, if it has braces.
    pub(super) block: Option<Vec<Directive>>,
}

impl Directive {
    /// The first argument, or an empty text.
    pub(super) fn first_argument(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// The directives between its braces; none for a directive without braces.
    pub(super) fn children(&self) -> &[Directive] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// Parses a whole file; `before` is the number of lines before its first one.
pub(super) fn parse(text: &str, before: usize) -> Result<Vec<Directive>, ParseError> {
    let mut reader = DirectiveParser { rest: text, line: before + 1 };
    reader.directives(None, 0)
}

/// Whether nginx separates words at this letter.
fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

enum SyntaxToken {
    Word(String),
    Semicolon,
    Open,
    Close,
    End,
}

struct DirectiveParser<'a> {
    rest: &'a str,
    line: usize,
}

impl DirectiveParser<'_> {
    fn next(&mut self) -> Option<char> {
        let letter = self.rest.chars().next()?;
        self.rest = &self.rest[letter.len_utf8()..];
        self.line += usize::from(letter == '\n');
        Some(letter)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// The directives up to the brace that closes the block opened in line `opened`, or to the end of the file.
    fn directives(&mut self, opened: Option<usize>, depth: usize) -> Result<Vec<Directive>, ParseError> {
        if depth > MAX_BLOCK_DEPTH {
            return Err(ParseError::at(self.line, format!("more than {MAX_BLOCK_DEPTH} blocks in each other"), HINT));
        }
        let mut directives = Vec::new();
        loop {
            let token = self.token()?;
            match (token, opened) {
                (SyntaxToken::Word(name), _) => directives.push(self.directive(name, depth)?),
                (SyntaxToken::Close, Some(_)) | (SyntaxToken::End, None) => return Ok(directives),
                (SyntaxToken::Close, None) => return Err(ParseError::at(self.line, "a } that closes nothing", HINT)),
                (SyntaxToken::End, Some(line)) => {
                    return Err(ParseError::at(line, "a block that is not closed by }", HINT));
                }
                (SyntaxToken::Semicolon, _) => return Err(ParseError::at(self.line, "a ; without a directive", HINT)),
                (SyntaxToken::Open, _) => return Err(ParseError::at(self.line, "a { without a directive", HINT)),
            }
        }
    }

    fn directive(&mut self, name: String, depth: usize) -> Result<Directive, ParseError> {
        let line = self.line;
        let mut arguments = Vec::new();
        let block = loop {
            match self.token()? {
                SyntaxToken::Word(word) => arguments.push(word),
                SyntaxToken::Semicolon => break None,
                SyntaxToken::Open if name.ends_with("_by_lua_block") => {
                    self.skip_program(line)?;
                    break Some(Vec::new());
                }
                SyntaxToken::Open => break Some(self.directives(Some(line), depth + 1)?),
                SyntaxToken::Close | SyntaxToken::End => {
                    return Err(ParseError::at(line, format!("{name:?} does not end with ;"), HINT));
                }
            }
        };
        Ok(Directive { line, name, arguments, block })
    }

    /// Skips a block of Lua code, up to the brace that closes it.
    fn skip_program(&mut self, line: usize) -> Result<(), ParseError> {
        let mut open = 1_usize;
        while open > 0 {
            match self.next() {
                Some('{') => open += 1,
                Some('}') => open -= 1,
                Some(_) => {}
                None => return Err(ParseError::at(line, "a block that is not closed by }", HINT)),
            }
        }
        Ok(())
    }

    fn token(&mut self) -> Result<SyntaxToken, ParseError> {
        loop {
            match self.peek() {
                None => return Ok(SyntaxToken::End),
                Some('#') => {
                    while self.peek().is_some_and(|letter| letter != '\n') {
                        self.next();
                    }
                }
                Some(letter) if is_space(letter) => {
                    self.next();
                }
                Some(mark @ (';' | '{' | '}')) => {
                    self.next();
                    return Ok(match mark {
                        ';' => SyntaxToken::Semicolon,
                        '{' => SyntaxToken::Open,
                        _ => SyntaxToken::Close,
                    });
                }
                Some(quote @ ('"' | '\'')) => {
                    self.next();
                    return self.quoted(quote).map(SyntaxToken::Word);
                }
                Some(_) => return Ok(SyntaxToken::Word(self.word())),
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let line = self.line;
        let mut word = String::new();
        loop {
            match self.next() {
                None => return Err(ParseError::at(line, format!("a {quote} that is not closed"), HINT)),
                Some(letter) if letter == quote => break,
                Some('\\') => self.escaped(&mut word),
                Some(letter) => word.push(letter),
            }
        }
        match self.peek() {
            Some(letter) if is_space(letter) || matches!(letter, ';' | '{' | ')') => Ok(word),
            Some(letter) => Err(ParseError::at(self.line, format!("{letter:?} right after a closing {quote}"), HINT)),
            None => Err(ParseError::at(self.line, "the file ends within a directive", HINT)),
        }
    }

    /// A word without quotes; `${name}` is part of it.
    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(letter) = self.peek() {
            let is_variable = letter == '{' && word.ends_with('$');
            if !is_variable && (is_space(letter) || matches!(letter, ';' | '{')) {
                break;
            }
            self.next();
            if letter == '\\' { self.escaped(&mut word) } else { word.push(letter) }
        }
        word
    }

    /// Reads the letter after a backslash: nginx removes the backslash before quotes and backslashes, expands `\t`,
    /// `\n` and `\r`, and keeps it before every other letter.
    fn escaped(&mut self, word: &mut String) {
        match self.next() {
            Some(letter @ ('"' | '\'' | '\\')) => word.push(letter),
            Some('t') => word.push('\t'),
            Some('n') => word.push('\n'),
            Some('r') => word.push('\r'),
            Some(letter) => word.extend(['\\', letter]),
            None => word.push('\\'),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<Vec<String>> {
        let flat = |directive: Directive| [vec![directive.name], directive.arguments].concat();
        parse(text, 0).unwrap().into_iter().map(flat).collect()
    }

    fn broken(text: &str) -> String {
        parse(text, 0).unwrap_err().to_string()
    }

    #[test]
    fn words_quotes_and_comments_are_told_apart() {
        assert_eq!(words("a b;# c;\nd 'e f' \"g;h\";"), [vec!["a", "b"], vec!["d", "e f", "g;h"]]);
        assert_eq!(words("a b#c;"), [["a", "b#c"]], "a comment begins a word of its own");
        assert_eq!(words("a 'it\\'s' \"\\\"\" \\d ${x}y;"), [["a", "it's", "\"", "\\d", "${x}y"]]);
        assert_eq!(words("map '' $x;"), [["map", "", "$x"]]);
    }

    #[test]
    fn blocks_hold_directives_with_their_lines() {
        let file = parse("http {\n  server {\n    listen 443\n      ssl;\n  }\n}\n", 0).unwrap();
        let listen = &file[0].children()[0].children()[0];
        assert_eq!((listen.line, listen.name.as_str(), listen.arguments.len()), (3, "listen", 2));
    }

    #[test]
    fn programs_in_lua_are_passed_over() {
        let file = parse("access_by_lua_block { if x then y = {1, 2} end; }\na b;", 0).unwrap();
        assert_eq!(file[1].name, "a");
    }

    #[test]
    fn what_does_not_end_well_is_refused_with_its_line() {
        assert_eq!(broken("server {\n listen 80;\n"), "1: a block that is not closed by }");
        assert_eq!(broken("a b;\n}\n"), "2: a } that closes nothing");
        assert_eq!(broken("\nlisten 80\n"), "2: \"listen\" does not end with ;");
        assert_eq!(broken("a {\n b 80\n}"), "2: \"b\" does not end with ;");
        assert_eq!(broken("\n\na 'b;\n"), "3: a ' that is not closed");
        assert_eq!(broken("a 'b'c;"), "1: 'c' right after a closing '");
        assert_eq!(broken(";"), "1: a ; without a directive");
        assert_eq!(broken("{ }"), "1: a { without a directive");
        assert_eq!(broken(&"a {".repeat(100)), "1: more than 12 blocks in each other");
    }
}
