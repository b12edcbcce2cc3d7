//! What an image remembers of its heap root's tree, so that the next root costs what changed.
//!
//! ```text
//!   level 5                 root
//!   level 4…2         ┌──────┴──────┐          nodes of 16, shared between an image and its successors
//!   level 1          group … group             16 pages each: the lowest that is kept, 2 or 3 bytes a page
//!   level 0       (page hashes, in the layers)
//! ```
//!
//! A `GroupTree` is immutable. A changed one shares all nodes but those above what changed; a part that is empty takes no space.
//! The hashes are those of [`HeapTree`](crate::HeapTree), which is the definition.

use std::sync::Arc;

use crate::{
    PageHash, PageNo,
    heap_root::{ARITY, ARITY_BITS, EMPTY, LEVELS, node},
};

/// Sixteen pages, by the number of the first divided by sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group(u32);

impl Group {
    pub(crate) fn of(page: PageNo) -> Group {
        Group(page.0 >> ARITY_BITS)
    }

    /// The hash of the group, from those of its pages.
    pub(crate) fn hash<E>(self, page_hash: impl Fn(PageNo) -> Result<PageHash, E>) -> Result<PageHash, E> {
        let mut hashes = [PageHash::ZERO; ARITY];
        for (page, hash) in (self.0 << ARITY_BITS..).zip(&mut hashes) {
            *hash = page_hash(PageNo(page))?;
        }
        Ok(node(&hashes))
    }
}

/// The tree above the groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupTree(Node);

#[derive(Clone, Debug, Default)]
enum Node {
    #[default]
    Empty,
    Group(PageHash),
    Inner(PageHash, Arc<[Node; ARITY]>),
}

impl GroupTree {
    /// The hash at the top: that of [`HeapTree::hash`](crate::HeapTree::hash).
    pub(crate) fn hash(&self) -> PageHash {
        self.0.hash(LEVELS)
    }

    /// The tree in which these groups, each named once and in order, have these hashes.
    #[must_use]
    pub(crate) fn updated(&self, changed: &[(Group, PageHash)]) -> GroupTree {
        debug_assert!(changed.is_sorted_by(|(a, _), (b, _)| a < b), "groups in order, each once");
        GroupTree(self.0.updated(LEVELS, changed))
    }
}

impl Node {
    fn hash(&self, level: usize) -> PageHash {
        match self {
            Node::Empty => EMPTY[level],
            Node::Group(hash) | Node::Inner(hash, _) => *hash,
        }
    }

    fn updated(&self, level: usize, changed: &[(Group, PageHash)]) -> Node {
        let [(_, last), ..] = changed else { return self.clone() };
        if level == 1 {
            return if *last == EMPTY[1] { Node::Empty } else { Node::Group(*last) };
        }
        let mut children = match self {
            Node::Inner(_, children) => <[Node; ARITY]>::clone(children),
            Node::Empty | Node::Group(_) => Default::default(),
        };
        let child_of =
            |group: Group| (2..level).fold(group.0, |place, _| place >> ARITY_BITS) as usize % ARITY;
        for part in changed.chunk_by(|(a, _), (b, _)| child_of(*a) == child_of(*b)) {
            let child = &mut children[child_of(part[0].0)];
            *child = child.updated(level - 1, part);
        }
        if children.iter().all(|child| matches!(child, Node::Empty)) {
            return Node::Empty;
        }
        let hash = node(&std::array::from_fn(|child| children[child].hash(level - 1)));
        Node::Inner(hash, Arc::new(children))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{HEAP_PAGES_MAX, HeapTree};

    proptest! {
        #[test]
        fn it_has_the_hash_of_the_tree_over_all_pages(
            rounds in proptest::collection::vec(
                proptest::collection::vec((prop_oneof![0..40u32, 0..HEAP_PAGES_MAX], 0..3u8), 0..20),
                1..6,
            ),
        ) {
            let mut pages = BTreeMap::new();
            let (mut whole, mut groups) = (HeapTree::new(), GroupTree::default());
            for round in rounds {
                let hash = |byte: u8| if byte == 0 { PageHash::ZERO } else { PageHash::of(&[byte; crate::PAGE_BYTES]) };
                for (page, byte) in &round {
                    pages.insert(PageNo(*page), hash(*byte));
                    whole.update(PageNo(*page), hash(*byte));
                }
                let changed: BTreeSet<Group> = round.iter().map(|(page, _)| Group::of(PageNo(*page))).collect();
                let page_hash = |page| Ok::<_, ()>(pages.get(&page).copied().unwrap_or(PageHash::ZERO));
                let changed: Vec<_> = changed.into_iter().map(|group| (group, group.hash(page_hash).unwrap())).collect();
                groups = groups.updated(&changed);
                prop_assert_eq!(groups.hash(), whole.hash());
            }
        }
    }
}
