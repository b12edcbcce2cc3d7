//! A set of pages, kept as runs: what a dirty-page tracker answers and what a capture goes through.
//!
//! Invariant: runs are not empty, sorted, disjoint and never adjacent, so that equal sets are equal values.

use crate::page::PageNo;

/// Consecutive pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PageRun {
    /// The first page.
    pub first: u32,
    /// How many pages.
    pub count: u32,
}

impl PageRun {
    /// The page after the last.
    pub const fn end(self) -> u32 {
        self.first + self.count
    }
}

/// A set of pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PageSet {
    runs: Vec<PageRun>,
}

impl PageSet {
    /// The set without pages.
    pub const fn new() -> PageSet {
        PageSet { runs: Vec::new() }
    }

    /// The first `count` pages of a heap.
    pub fn first(count: u32) -> PageSet {
        let mut set = PageSet::new();
        set.push(PageRun { first: 0, count });
        set
    }

    /// Adds pages after all that are in the set; a run that overlaps or touches the last one extends it.
    ///
    /// # Panics
    ///
    /// If the run begins before the last run of the set.
    pub fn push(&mut self, run: PageRun) {
        if run.count == 0 {
            return;
        }
        match self.runs.last_mut() {
            Some(last) if run.first <= last.end() => {
                assert!(run.first >= last.first, "pages are added in order");
                last.count = last.end().max(run.end()) - last.first;
            }
            _ => self.runs.push(run),
        }
    }

    /// The runs, in order.
    pub fn runs(&self) -> &[PageRun] {
        &self.runs
    }

    /// The pages, in order.
    pub fn pages(&self) -> impl Iterator<Item = PageNo> + '_ {
        self.runs.iter().flat_map(|run| (run.first..run.end()).map(PageNo))
    }

    /// How many pages.
    pub fn len(&self) -> u32 {
        self.runs.iter().map(|run| run.count).sum()
    }

    /// Whether no page is in the set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Whether the page is in the set.
    pub fn contains(&self, page: PageNo) -> bool {
        let after = self.runs.partition_point(|run| run.first <= page.0);
        after > 0 && page.0 < self.runs[after - 1].end()
    }

    /// The pages that are in this set or the other.
    #[must_use]
    pub fn union(&self, other: &PageSet) -> PageSet {
        let mut runs: Vec<PageRun> = self.runs.iter().chain(&other.runs).copied().collect();
        runs.sort_unstable();
        runs.into_iter().fold(PageSet::new(), |mut set, run| {
            set.push(run);
            set
        })
    }

    /// The pages that are in this set and not in the other.
    #[must_use]
    pub fn difference(&self, other: &PageSet) -> PageSet {
        let mut rest = PageSet::new();
        let mut holes = other.runs.iter().peekable();
        for run in &self.runs {
            let mut at = run.first;
            while at < run.end() {
                while holes.next_if(|hole| hole.end() <= at).is_some() {}
                let end = holes.peek().map_or(run.end(), |hole| hole.first.clamp(at, run.end()));
                rest.push(PageRun { first: at, count: end - at });
                at = holes.peek().map_or(run.end(), |hole| hole.end().clamp(end, run.end()));
            }
        }
        rest
    }
}

impl FromIterator<PageNo> for PageSet {
    /// Collects pages in any order.
    fn from_iter<I: IntoIterator<Item = PageNo>>(pages: I) -> PageSet {
        let mut pages: Vec<u32> = pages.into_iter().map(|page| page.0).collect();
        pages.sort_unstable();
        let mut set = PageSet::new();
        for page in pages {
            set.push(PageRun { first: page, count: 1 });
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set_of(pages: &BTreeSet<u32>) -> PageSet {
        pages.iter().copied().map(PageNo).collect()
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(
            a in proptest::collection::btree_set(0u32..64, 0..40),
            b in proptest::collection::btree_set(0u32..64, 0..40),
        ) {
            let (left, right) = (set_of(&a), set_of(&b));
            prop_assert_eq!(left.len() as usize, a.len());
            prop_assert_eq!(left.pages().map(|page| page.0).collect::<BTreeSet<_>>(), a.clone());
            prop_assert_eq!(left.union(&right), set_of(&(&a | &b)));
            prop_assert_eq!(left.difference(&right), set_of(&(&a - &b)));
            for page in 0..64 {
                prop_assert_eq!(left.contains(PageNo(page)), a.contains(&page));
            }
        }
    }
}
