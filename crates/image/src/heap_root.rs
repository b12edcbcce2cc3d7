//! The heap root: 32 bytes that name a heap's content, and proofs that a page belongs to it.
//!
//! ```text
//!   heap root = H_root(tree, size in pages, H_globals(globals), module hash)
//!                       │
//!              ┌────────┴────────┐  5 levels of nodes with 16 children: 2²⁰ leaves, whatever the heap's size
//!            node     …        node          H_node(child hash · 16)
//!              │
//!    page hash 0 … page hash 15              BLAKE3 of the page; absent pages are zero pages
//! ```
//!
//! The three hashes are BLAKE3 keyed with different constants, so that no page can pass for a node, and no
//! node for a root. Subtrees of zero pages have constant hashes, so the cost follows the pages that are not
//! zero. The root depends on content alone: not on layers, not on history, not on addresses. Two hosts
//! compare a vat by it; a host that signs it vouches for every page.

use std::{collections::BTreeMap, fmt, sync::LazyLock};

use crate::page::{HEAP_PAGES_MAX, PageBytes, PageHash, PageNo, write_hex};

/// Levels of nodes between the pages and the top of the tree.
pub(crate) const LEVELS: usize = 5;
/// Children of a node.
pub(crate) const ARITY: usize = 16;
pub(crate) const ARITY_BITS: u32 = 4;

const NODE_KEY: &[u8; 32] = b"vat-image heap tree node v1     ";
const GLOBALS_KEY: &[u8; 32] = b"vat-image heap globals v1       ";
const ROOT_KEY: &[u8; 32] = b"vat-image heap root v1          ";

/// The hash of a subtree without pages, by its height.
pub(crate) static EMPTY: LazyLock<[PageHash; LEVELS + 1]> = LazyLock::new(|| {
    let mut hashes = [PageHash::ZERO; LEVELS + 1];
    for level in 0..LEVELS {
        hashes[level + 1] = node(&[hashes[level]; ARITY]);
    }
    hashes
});

pub(crate) fn node(children: &[PageHash; ARITY]) -> PageHash {
    PageHash(*blake3::keyed_hash(NODE_KEY, children.map(|child| child.0).as_flattened()).as_bytes())
}

/// Names the content of a heap, its globals and its module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeapRoot(pub [u8; 32]);

impl HeapRoot {
    /// Of a heap whose pages have this hash.
    pub(crate) fn new(pages: PageHash, size_pages: u32, globals: &[u8], module: &[u8; 32]) -> HeapRoot {
        Surroundings::new(size_pages, globals, module).root(pages)
    }
}

impl fmt::Display for HeapRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(&self.0, f)
    }
}

impl fmt::Debug for HeapRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a heap root covers beside the pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Surroundings {
    size_pages: u32,
    globals: [u8; 32],
    module: [u8; 32],
}

impl Surroundings {
    const BYTES: usize = 4 + 32 + 32;

    fn new(size_pages: u32, globals: &[u8], module: &[u8; 32]) -> Surroundings {
        let globals = *blake3::keyed_hash(GLOBALS_KEY, globals).as_bytes();
        Surroundings { size_pages, globals, module: *module }
    }

    fn root(&self, tree: PageHash) -> HeapRoot {
        let mut bytes = [0; PageHash::BYTES + Surroundings::BYTES];
        bytes[..PageHash::BYTES].copy_from_slice(&tree.0);
        bytes[PageHash::BYTES..].copy_from_slice(&self.to_bytes());
        HeapRoot(*blake3::keyed_hash(ROOT_KEY, &bytes).as_bytes())
    }

    fn to_bytes(self) -> [u8; Surroundings::BYTES] {
        let mut bytes = [0; Surroundings::BYTES];
        bytes[..4].copy_from_slice(&self.size_pages.to_le_bytes());
        bytes[4..36].copy_from_slice(&self.globals);
        bytes[36..].copy_from_slice(&self.module);
        bytes
    }

    fn from_bytes(bytes: &[u8; Surroundings::BYTES]) -> Surroundings {
        let (size, hashes) = bytes.split_at(4);
        let hashes = hashes.as_chunks::<32>().0;
        let size_pages = u32::from_le_bytes(size.try_into().expect("4 bytes"));
        Surroundings { size_pages, globals: hashes[0], module: hashes[1] }
    }
}

/// The tree over a heap's page hashes. Kept beside a heap, it follows its changes at the cost of the changed
/// pages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeapTree {
    /// By level, the hashes that differ from those of an empty subtree; level 0 are the pages.
    levels: [BTreeMap<u32, PageHash>; LEVELS + 1],
}

impl HeapTree {
    /// The tree of a heap of zeros.
    pub fn new() -> HeapTree {
        HeapTree::default()
    }

    /// Says what a page holds now.
    ///
    /// # Panics
    ///
    /// If the page is not one of [`HEAP_PAGES_MAX`].
    pub fn update(&mut self, page: PageNo, hash: PageHash) {
        self.update_all([(page, hash)]);
    }

    /// Says what some pages hold now; cheaper than one by one. The order does not matter, unless a page is
    /// named twice: then the last counts.
    ///
    /// # Panics
    ///
    /// If a page is not one of [`HEAP_PAGES_MAX`].
    pub fn update_all(&mut self, pages: impl IntoIterator<Item = (PageNo, PageHash)>) {
        let mut changed = Vec::new();
        for (page, hash) in pages {
            assert!(page.0 < HEAP_PAGES_MAX, "a heap has at most 2^20 pages");
            self.set(0, page.0, hash);
            changed.push(page.0);
        }
        for level in 0..LEVELS {
            changed.iter_mut().for_each(|place| *place >>= ARITY_BITS);
            changed.sort_unstable();
            changed.dedup();
            for &parent in &changed {
                let hash = node(&self.children(level, parent));
                self.set(level + 1, parent, hash);
            }
        }
    }

    /// The hash at the top of the tree: of all pages, without the heap's size.
    pub fn hash(&self) -> PageHash {
        self.at(LEVELS, 0)
    }

    /// The root of a heap with these pages.
    pub fn root(&self, size_pages: u32, globals: &[u8], module: &[u8; 32]) -> HeapRoot {
        HeapRoot::new(self.hash(), size_pages, globals, module)
    }

    /// A proof that a page belongs to the heap.
    ///
    /// # Panics
    ///
    /// If the page is not one of [`HEAP_PAGES_MAX`].
    pub fn proof(&self, page: PageNo, size_pages: u32, globals: &[u8], module: &[u8; 32]) -> PageProof {
        assert!(page.0 < HEAP_PAGES_MAX, "a heap has at most 2^20 pages");
        let mut siblings = [[PageHash::ZERO; ARITY - 1]; LEVELS];
        for (level, siblings) in siblings.iter_mut().enumerate() {
            let place = place_at(page, level);
            let children = self.children(level, place >> ARITY_BITS);
            let others = (0..).zip(children).filter(|(child, _)| *child != child_of(place));
            siblings.iter_mut().zip(others).for_each(|(sibling, (_, hash))| *sibling = hash);
        }
        PageProof { page, surroundings: Surroundings::new(size_pages, globals, module), siblings }
    }

    fn at(&self, level: usize, place: u32) -> PageHash {
        self.levels[level].get(&place).copied().unwrap_or(EMPTY[level])
    }

    fn set(&mut self, level: usize, place: u32, hash: PageHash) {
        if hash == EMPTY[level] {
            self.levels[level].remove(&place);
        } else {
            self.levels[level].insert(place, hash);
        }
    }

    /// The hashes at a level that are below one node.
    fn children(&self, level: usize, parent: u32) -> [PageHash; ARITY] {
        let mut children = [EMPTY[level]; ARITY];
        let first = parent << ARITY_BITS;
        for (place, hash) in self.levels[level].range(first..first + (1 << ARITY_BITS)) {
            children[child_of(*place) as usize] = *hash;
        }
        children
    }
}

impl FromIterator<(PageNo, PageHash)> for HeapTree {
    fn from_iter<I: IntoIterator<Item = (PageNo, PageHash)>>(pages: I) -> HeapTree {
        let mut tree = HeapTree::new();
        tree.update_all(pages);
        tree
    }
}

/// The place, in its level, of the node above a page.
fn place_at(page: PageNo, level: usize) -> u32 {
    (0..level).fold(page.0, |place, _| place >> ARITY_BITS)
}

/// Which child of its parent a place is.
fn child_of(place: u32) -> u32 {
    place & ((1 << ARITY_BITS) - 1)
}

/// Proves to somebody who knows a [`HeapRoot`] that a page holds certain bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageProof {
    page: PageNo,
    surroundings: Surroundings,
    /// By level, the hashes beside the path, in order.
    siblings: [[PageHash; ARITY - 1]; LEVELS],
}

impl PageProof {
    /// Bytes of an encoded proof: page number (4), size in pages (4), globals hash (32), module hash (32),
    /// then five times fifteen hashes, lowest level first. Numbers are little-endian.
    pub const BYTES: usize = 4 + Surroundings::BYTES + LEVELS * (ARITY - 1) * PageHash::BYTES;

    /// The page that the proof is about.
    pub fn page(&self) -> PageNo {
        self.page
    }

    /// The heap's size, in pages.
    pub fn size_pages(&self) -> u32 {
        self.surroundings.size_pages
    }

    /// The hash of the vat's module.
    pub fn module(&self) -> &[u8; 32] {
        &self.surroundings.module
    }

    /// Whether the heap with this root holds these bytes at the proof's page.
    pub fn verify(&self, root: &HeapRoot, bytes: &PageBytes) -> bool {
        let mut hash = PageHash::of(bytes);
        for (level, siblings) in self.siblings.iter().enumerate() {
            let own = child_of(place_at(self.page, level)) as usize;
            let mut children = [hash; ARITY];
            children[..own].copy_from_slice(&siblings[..own]);
            children[own + 1..].copy_from_slice(&siblings[own..]);
            hash = node(&children);
        }
        self.page.0 < self.surroundings.size_pages
            && self.surroundings.size_pages <= HEAP_PAGES_MAX
            && self.surroundings.root(hash) == *root
    }

    /// Encodes the proof; see [`PageProof::BYTES`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.page.0.to_le_bytes().to_vec();
        bytes.extend(self.surroundings.to_bytes());
        bytes.extend(self.siblings.iter().flatten().flat_map(|hash| hash.0));
        bytes
    }

    /// Decodes a proof; `None` if there are too few or too many bytes. Whether it proves anything is another
    /// question.
    pub fn from_bytes(bytes: &[u8]) -> Option<PageProof> {
        let bytes: &[u8; PageProof::BYTES] = bytes.try_into().ok()?;
        let (page, rest) = bytes.split_first_chunk()?;
        let (surroundings, hashes) = rest.split_first_chunk()?;
        let mut siblings = [[PageHash::ZERO; ARITY - 1]; LEVELS];
        for (sibling, hash) in siblings.as_flattened_mut().iter_mut().zip(hashes.as_chunks().0) {
            *sibling = PageHash(*hash);
        }
        let page = PageNo(u32::from_le_bytes(*page));
        Some(PageProof { page, surroundings: Surroundings::from_bytes(surroundings), siblings })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page(byte: u8) -> PageBytes {
        [byte; crate::PAGE_BYTES]
    }

    fn hash(byte: u8) -> PageHash {
        PageHash::of(&page(byte))
    }

    #[test]
    fn the_root_of_a_known_heap_does_not_change_with_the_program() {
        let tree: HeapTree = [(PageNo(0), hash(1)), (PageNo(70_000), hash(2))].into_iter().collect();
        let root = tree.root(131_072, b"globals", &[3; 32]);
        assert_eq!(root.to_string(), "443400f1c9ff5dc91a0eb4564f279a421bffffe05148d67e1e29ce152003c96d");
    }

    proptest! {
        #[test]
        fn updating_gives_the_tree_built_from_scratch(
            writes in proptest::collection::vec((0..HEAP_PAGES_MAX, 0..3u8), 0..60),
            near in proptest::collection::vec((0..40u32, 0..3u8), 0..60),
        ) {
            let mut updated = HeapTree::new();
            let mut pages = BTreeMap::new();
            for (place, byte) in writes.into_iter().chain(near) {
                updated.update(PageNo(place), hash(byte));
                pages.insert(PageNo(place), hash(byte));
            }
            let mut rebuilt = HeapTree::new();
            rebuilt.update_all(pages.into_iter().rev());
            prop_assert_eq!(updated, rebuilt);
        }

        #[test]
        fn a_proof_proves_its_page_and_nothing_else(
            place in prop_oneof![0..20u32, 0..HEAP_PAGES_MAX],
            others in proptest::collection::vec(0..HEAP_PAGES_MAX, 0..20),
            flipped in 0..PageProof::BYTES,
        ) {
            let mut tree: HeapTree = others.iter().map(|other| (PageNo(*other), hash(9))).collect();
            tree.update(PageNo(place), hash(5));
            let root = tree.root(HEAP_PAGES_MAX, b"globals", &[3; 32]);
            let proof = tree.proof(PageNo(place), HEAP_PAGES_MAX, b"globals", &[3; 32]);
            prop_assert!(proof.verify(&root, &page(5)));
            prop_assert!(!proof.verify(&root, &page(6)));
            prop_assert!(!proof.verify(&tree.root(HEAP_PAGES_MAX, b"global", &[3; 32]), &page(5)));
            prop_assert!(!proof.verify(&tree.root(HEAP_PAGES_MAX, b"globals", &[4; 32]), &page(5)));
            prop_assert!(!proof.verify(&tree.root(HEAP_PAGES_MAX - 1, b"globals", &[3; 32]), &page(5)));
            let mut bytes = proof.to_bytes();
            prop_assert_eq!(PageProof::from_bytes(&bytes), Some(proof));
            prop_assert_eq!(PageProof::from_bytes(&bytes[1..]), None);
            bytes[flipped] ^= 1;
            prop_assert!(!PageProof::from_bytes(&bytes).unwrap().verify(&root, &page(5)));
        }
    }
}
