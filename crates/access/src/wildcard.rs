//! Matches texts with wildcards, without allocation: the core of repository globs and of patterns for claims.
//!
//! The pieces are matched from left to right, each at the first place that is possible. After a mismatch only the last
//! wildcard of each kind takes more: an earlier match of what precedes a wildcard leaves it every end that a later one
//! would. That also holds for [`WildcardToken::AnyExceptSlash`], because two places that it can reach have no slash
//! between them.
//!
//! Invariant: matching takes time proportional to the product of the lengths of pattern and text.

/// A part of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WildcardToken<'a> {
    /// This text.
    Literal(&'a str),
    /// Any text without a slash, the empty one too.
    AnyExceptSlash,
    /// Any text, the empty one too.
    Any,
}

/// The place of a wildcard that may have to take more text.
struct Retry {
    /// The index of the piece behind the wildcard.
    piece: usize,
    /// Where the wildcard ends in the text.
    end: usize,
    /// The next end that is possible.
    next: usize,
}

/// Whether the pieces of a pattern match the whole text. `token` gives the meaning of a piece.
pub fn wildcard_matches<'p, P>(pieces: &'p [P], token: impl Fn(&'p P) -> WildcardToken<'p>, text: &str) -> bool {
    let text = text.as_bytes();
    let (mut piece, mut at) = (0, 0);
    let (mut any, mut except_slash): (Option<Retry>, Option<Retry>) = (None, None);
    loop {
        match pieces.get(piece).map(&token) {
            None if at == text.len() => return true,
            Some(WildcardToken::Literal(literal)) if text[at..].starts_with(literal.as_bytes()) => {
                (piece, at) = (piece + 1, at + literal.len());
                continue;
            }
            Some(WildcardToken::Any) => {
                piece += 1;
                if piece == pieces.len() {
                    return true;
                }
                (any, except_slash) = (Some(Retry { piece, end: at, next: at + 1 }), None);
                continue;
            }
            Some(WildcardToken::AnyExceptSlash) => {
                piece += 1;
                if except_slash.is_none() {
                    skip_component(any.as_mut(), text, at);
                }
                except_slash = Some(Retry { piece, end: at, next: at + 1 });
                continue;
            }
            Some(WildcardToken::Literal(_)) | None => {}
        }
        if let Some(retry) = &mut except_slash
            && text.get(retry.end).is_some_and(|byte| *byte != b'/')
        {
            (piece, at) = retry.extend();
        } else if let Some(retry) = &mut any
            && retry.next <= text.len()
        {
            except_slash = None;
            (piece, at) = retry.extend();
        } else {
            return false;
        }
    }
}

impl Retry {
    /// Takes more text. Returns the piece and the place in the text where matching goes on.
    fn extend(&mut self) -> (usize, usize) {
        self.end = self.next;
        self.next += 1;
        (self.piece, self.end)
    }
}

/// The first wildcard without slashes behind `any` begins at `at`. If it fails there, it fails up to the next slash,
/// because it could have taken the text up to any of these places. So the next end of `any` that is possible lets that
/// wildcard begin behind the slash.
fn skip_component(any: Option<&mut Retry>, text: &[u8], at: usize) {
    if let Some(any) = any {
        let slash = text[at..].iter().position(|byte| *byte == b'/').map_or(text.len(), |length| at + length);
        any.next = slash + 1 - (at - any.end);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pieces: &[WildcardToken<'_>], text: &str) -> bool {
        wildcard_matches(pieces, |piece| *piece, text)
    }

    /// Tries every end of every wildcard.
    fn naive_matches(pieces: &[WildcardToken<'_>], text: &str) -> bool {
        let Some((first, rest)) = pieces.split_first() else { return text.is_empty() };
        let mut ends = (0..=text.len()).filter(|end| text.is_char_boundary(*end));
        match first {
            WildcardToken::Literal(literal) => text.strip_prefix(literal).is_some_and(|text| naive_matches(rest, text)),
            WildcardToken::Any => ends.any(|end| naive_matches(rest, &text[end..])),
            WildcardToken::AnyExceptSlash => {
                ends.any(|end| !text[..end].contains('/') && naive_matches(rest, &text[end..]))
            }
        }
    }

    /// Patterns of few letters, so that literals and texts often agree.
    fn pieces() -> impl Strategy<Value = Vec<WildcardToken<'static>>> {
        let literal = prop::sample::select(&["a", "b", "/", "ab", "a/", "/b", "aa", "a/b", "//", "ä", ""]);
        let piece = prop_oneof![
            3 => literal.prop_map(WildcardToken::Literal),
            2 => Just(WildcardToken::AnyExceptSlash),
            1 => Just(WildcardToken::Any),
        ];
        prop::collection::vec(piece, 0..9)
    }

    #[test]
    fn a_wildcard_stops_at_a_slash_or_not() {
        let [any, part] = [WildcardToken::Any, WildcardToken::AnyExceptSlash];
        let text = WildcardToken::Literal;
        assert!(matches(&[], "") && !matches(&[], "a") && matches(&[any], "") && matches(&[part], ""));
        assert!(matches(&[any], "a/b") && !matches(&[part], "a/b") && matches(&[part, text("/"), part], "a/b"));
        assert!(matches(&[any, text("a"), part, text("b")], "a/a/acb"));
        assert!(matches(&[any, text("x/"), part, text("b"), part, text("c")], "x/b/x/bac"));
        assert!(!matches(&[part, text("b"), any], "a/b"));
    }

    #[test]
    fn a_pattern_that_is_hard_to_match_is_matched_in_time() {
        let long = "a".repeat(1 << 16);
        let hard: Vec<_> = [WildcardToken::AnyExceptSlash, WildcardToken::Literal("a")].repeat(100);
        let last = WildcardToken::Literal("b");
        // By trial of every end this would not end.
        assert!(!matches(&[&hard[..], &[last]].concat(), &long));
        assert!(!matches(&[&[WildcardToken::Any], &hard[..], &[last]].concat(), &long));
        assert!(!matches(&[&[WildcardToken::Any; 100][..], &hard, &[last]].concat(), &long));
        let components = "a/".repeat(1 << 15);
        let parts = [WildcardToken::AnyExceptSlash, WildcardToken::Literal("/")].repeat(100);
        assert!(!matches(&[&[WildcardToken::Any], &parts[..], &[last]].concat(), &components));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn a_text_matches_if_some_choice_of_ends_does(pieces in pieces(), text in "[ab/]{0,4}(ä|/|a/b|aab){0,3}[ab/]{0,4}") {
            prop_assert_eq!(matches(&pieces, &text), naive_matches(&pieces, &text), "{:?} {:?}", pieces, text);
        }

        #[test]
        fn a_text_that_was_made_from_a_pattern_matches_it(
            pieces in pieces(),
            filling in prop::collection::vec("[ab/]{0,3}", 9),
        ) {
            let text: String = pieces.iter().zip(&filling).map(|(piece, filling)| match piece {
                WildcardToken::Literal(literal) => (*literal).to_owned(),
                WildcardToken::Any => filling.clone(),
                WildcardToken::AnyExceptSlash => filling.replace('/', "b"),
            }).collect();
            prop_assert!(matches(&pieces, &text), "{:?} {:?}", pieces, text);
        }
    }
}
