//! Recognises in tokens what the checks of the architecture look for.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The attributes, without spaces, of items that are compiled for tests only.
const TEST_ONLY: [&str; 2] = ["cfg(test)", "cfg(any(test,feature=\"testing\"))"];

/// The tokens of the item at the beginning of `tokens`, with its attributes, if it is for tests only.
pub(super) fn test_item(tokens: &[TokenTree]) -> Option<&[TokenTree]> {
    let [hash, TokenTree::Group(attribute), ..] = tokens else { return None };
    let spaceless: String = attribute.stream().to_string().split_whitespace().collect();
    if !is_ident(hash, "#") || !TEST_ONLY.contains(&spaceless.as_str()) {
        return None;
    }
    let ends = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        TokenTree::Punct(punct) => punct.as_char() == ';',
        TokenTree::Ident(_) | TokenTree::Literal(_) => false,
    };
    let end = tokens.iter().position(ends)?;
    Some(&tokens[..=end])
}

/// Whether the tokens are `::` and something after it.
pub(super) fn followed_by_colons(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [first, second, _, ..] if is_ident(first, ":") && is_ident(second, ":"))
}

/// Whether a token is this word, or this punctuation character.
pub(super) fn is_ident(token: &TokenTree, word: &str) -> bool {
    match token {
        TokenTree::Ident(ident) => ident == word,
        TokenTree::Punct(punct) => word.len() == 1 && word.starts_with(punct.as_char()),
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

pub(super) fn token_trees(stream: TokenStream) -> Vec<TokenTree> {
    stream.into_iter().collect()
}
