//! Pagination of lists with `?n=` and `last=` (distribution specification, "Listing Tags").
//!
//! Invariant: a page never allocates memory for more entries than the list has, whatever number the client requests.

/// The requested part of a sorted list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageRequest {
    /// The maximum number of entries. `None` returns the whole list, because clients do not follow links by default.
    pub limit: Option<usize>,
    /// Only entries that follow this one in byte order; it need not be in the list.
    pub last: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListPage<T> {
    /// The entries of the page.
    pub entries: Vec<T>,
    /// Whether the list has more entries after these.
    pub has_more: bool,
}

impl PageRequest {
    /// Selects this page of `sorted`, a list in byte order.
    pub fn select<T: AsRef<str>>(&self, sorted: impl IntoIterator<Item = T>) -> ListPage<T> {
        let mut rest =
            sorted.into_iter().skip_while(|entry| self.last.as_deref().is_some_and(|last| entry.as_ref() <= last));
        let limit = self.limit.unwrap_or(usize::MAX);
        let entries: Vec<T> = rest.by_ref().take(limit).collect();
        // With a limit of zero, a link to the next page would lead to the same empty page again.
        let more = limit > 0 && rest.next().is_some();
        ListPage { entries, has_more: more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(limit: Option<usize>, last: Option<&str>) -> (Vec<&'static str>, bool) {
        let page = PageRequest { limit, last: last.map(ToOwned::to_owned) };
        let paged = page.select(["a", "b", "c"]);
        (paged.entries, paged.has_more)
    }

    #[test]
    fn a_page_begins_strictly_after_last_and_ends_at_n() {
        assert_eq!(page(None, None), (vec!["a", "b", "c"], false));
        assert_eq!(page(Some(2), None), (vec!["a", "b"], true));
        assert_eq!(page(Some(2), Some("b")), (vec!["c"], false));
        assert_eq!(page(Some(3), None), (vec!["a", "b", "c"], false));
        assert_eq!(page(Some(1), Some("aa")), (vec!["b"], true));
        assert_eq!(page(None, Some("c")), (vec![], false));
    }

    #[test]
    fn a_page_of_nothing_is_empty_and_a_page_of_a_billion_is_the_list() {
        assert_eq!(page(Some(0), None), (vec![], false));
        assert_eq!(page(Some(1_000_000_000), None), (vec!["a", "b", "c"], false));
    }
}
