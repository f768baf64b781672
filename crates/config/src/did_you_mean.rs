//! Finds the known word nearest to an unknown one, for the hint "did you mean …?".
//!
//! Invariant: only a word within a few typing errors is suggested; a wrong suggestion is worse than none.

/// The word of `known` with the smallest edit distance to `word`, if that is at most a third of its length (1 to 3).
/// The distance is the optimal string alignment, which counts insertions, deletions, replacements and swaps of adjacent
/// characters.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    let tolerance = (length / 3).clamp(1, 3);
    known
        .into_iter()
        // The lengths are compared first, because the time for a distance grows with their product.
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= tolerance)
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_word() {
        let known = ["listen", "hostnames", "redirect"];
        assert_eq!(nearest("listne", known), Some("listen"));
        assert_eq!(nearest("hostname", known), Some("hostnames"));
        assert_eq!(nearest("Listen", known), Some("listen"));
    }

    #[test]
    fn another_word_finds_nothing() {
        assert_eq!(nearest("storage", ["listen", "hostnames", "redirect"]), None);
        assert_eq!(nearest("s3", ["tls"]), None);
        assert_eq!(nearest("", ["tls"]), None);
    }

    #[test]
    fn insertions_replacements_and_swaps_count_as_one_error() {
        for word in ["abxc", "bc", "axc", "acb"] {
            assert_eq!(nearest(word, ["abc"]), Some("abc"), "{word}");
        }
        assert_eq!(nearest("kitten", ["sitting"]), None, "three errors in six letters");
        assert_eq!(nearest("kittens and", ["sitting and"]), Some("sitting and"), "three errors in eleven letters");
    }
}
