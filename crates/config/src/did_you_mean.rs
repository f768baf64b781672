//! Finds the known word nearest to an unknown one, for the hint "did you mean …?".
//!
//! Invariant: only a word within a few typing errors is suggested; a wrong suggestion is worse than none.

/// The word of `known` with the smallest edit distance to `word`, if that is at most a third of its length (1 to 3).
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerance = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= tolerance)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The edit distance (optimal string alignment): insertions, deletions, replacements and swaps of adjacent characters.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().take(100).collect(), other.chars().take(100).collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=other.len()).collect()];
    for i in 1..=one.len() {
        let mut row = vec![i];
        for j in 1..=other.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
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
    fn the_distance_counts_insertions_replacements_and_swaps() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance("abc", "axc"), 1);
        assert_eq!(distance("abc", "acb"), 1);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
