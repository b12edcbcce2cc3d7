//! An image: a heap at rest, as a stack of layers, base first.
//!
//! ```text
//!   page      0   1   2   3   4   5   6   7   8   9
//!   delta 2   .   .   .   x   .   .   .   .   .   .        x  data     .  not covered
//!   delta 1   .   .   x   x   0   .   .   .   .   .        0  zero
//!   base      x   x   x   x   x   x   .   .   x   x
//!   heap      b   b   1   2   0   b   0   0   b   b
//! ```
//!
//! The topmost layer that covers a page decides; a page that no layer covers is zero. An image is immutable
//! and cheap to clone; a fork of a vat is a clone. Its content does not depend on how it is layered.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use crate::{
    Error, HeapRoot, HeapTree, PageProof, PageSet,
    group_tree::{Group, GroupTree},
    layer::{Found, Layer, LayerLocation, RunContent},
    page::{HEAP_PAGES_MAX, PAGE_BYTES, PageBytes, PageHash, PageNo, ZERO_PAGE},
    page_set::PageRun,
    plan::RestorePlan,
    store::PageStore,
};

/// Pages that may differ from a tree before it is not worth being updated.
const CHANGED_MAX: u32 = 1 << 14;

/// A heap at rest.
#[derive(Clone, Debug)]
pub struct Image(Arc<ImageInner>);

#[derive(Debug)]
struct ImageInner {
    layers: Vec<Layer>,
    size_pages: u32,
    plan: OnceLock<RestorePlan>,
    /// The tree of its heap root, once somebody asked for it.
    groups: OnceLock<GroupTree>,
    /// That of an image it comes from.
    known: Option<Known>,
}

/// A tree, and the pages that may differ from it.
#[derive(Clone, Debug)]
struct Known {
    groups: GroupTree,
    changed: PageSet,
}

/// Consecutive pages of an image whose content comes from the same run of the same layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) layer: usize,
    pub(crate) content: RunContent,
}

impl Extent {
    pub(crate) fn end(&self) -> u32 {
        self.first + self.count
    }

    pub(crate) fn pages(&self) -> PageRun {
        PageRun { first: self.first, count: self.count }
    }

    /// The part of the extent that begins at a page inside it, of at most `count` pages.
    fn part(&self, first: u32, count: u32) -> Extent {
        let content = match self.content {
            RunContent::Zero => RunContent::Zero,
            RunContent::Data { data_page } => {
                RunContent::Data { data_page: data_page + (first - self.first) }
            }
        };
        Extent { first, count, content, ..*self }
    }
}

impl Image {
    /// A heap of `size_pages` pages with the content of these layers, base first.
    ///
    /// # Panics
    ///
    /// If the heap is larger than [`HEAP_PAGES_MAX`], or a layer covers pages beyond its end.
    pub fn new(layers: Vec<Layer>, size_pages: u32) -> Image {
        assert!(size_pages <= HEAP_PAGES_MAX, "a heap is at most 4 GiB");
        let inside = |layer: &Layer| layer.runs().last().is_none_or(|run| run.end() <= size_pages);
        assert!(layers.iter().all(inside), "layers cover pages of the heap only");
        Image::with(layers, size_pages, None)
    }

    fn with(layers: Vec<Layer>, size_pages: u32, known: Option<Known>) -> Image {
        let (plan, groups) = (OnceLock::new(), OnceLock::new());
        Image(Arc::new(ImageInner { layers, size_pages, plan, groups, known }))
    }

    /// An image with other layers that differs from this one at most in these pages.
    pub(crate) fn succeeded_by(&self, layers: Vec<Layer>, size_pages: u32, changed: &PageSet) -> Image {
        let known = match (self.0.groups.get(), &self.0.known) {
            (Some(groups), _) => Some(Known { groups: groups.clone(), changed: changed.clone() }),
            (None, Some(known)) => {
                Some(Known { groups: known.groups.clone(), changed: known.changed.union(changed) })
            }
            (None, None) => None,
        };
        Image::with(layers, size_pages, known.filter(|known| known.changed.len() <= CHANGED_MAX))
    }

    /// A heap of zeros.
    pub fn empty(size_pages: u32) -> Image {
        Image::new(Vec::new(), size_pages)
    }

    /// Loads the layers of an image from a store, base first.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`], [`Error::Damaged`] or [`Error::Version`] if a layer cannot be used, also when it
    /// covers pages beyond `size_pages`.
    pub fn load(store: &PageStore, layers: &[LayerLocation], size_pages: u32) -> Result<Image, Error> {
        let layers = layers.iter().map(|at| store.load(*at)).collect::<Result<Vec<_>, _>>()?;
        let too_long =
            layers.iter().find(|layer| layer.runs().last().is_some_and(|run| run.end() > size_pages));
        match too_long {
            Some(layer) => Err(layer.damaged(crate::DamagedPart::Index)),
            None => Ok(Image::new(layers, size_pages)),
        }
    }

    /// The same content in a heap that has grown.
    ///
    /// # Panics
    ///
    /// If it would be smaller, or larger than [`HEAP_PAGES_MAX`].
    #[must_use]
    pub fn grown_to(&self, size_pages: u32) -> Image {
        assert!(size_pages >= self.size_pages(), "a heap does not shrink");
        if size_pages == self.size_pages() {
            self.clone()
        } else {
            self.succeeded_by(self.0.layers.clone(), size_pages, &PageSet::new())
        }
    }

    /// Pages of the heap.
    pub fn size_pages(&self) -> u32 {
        self.0.size_pages
    }

    /// Bytes of the heap.
    pub fn size_bytes(&self) -> usize {
        PageNo(self.0.size_pages).offset()
    }

    /// The layers, base first.
    pub fn layers(&self) -> &[Layer] {
        &self.0.layers
    }

    /// Where the layers are, base first: the image's durable pointer, together with its size.
    pub fn locations(&self) -> Vec<LayerLocation> {
        self.0.layers.iter().map(Layer::location).collect()
    }

    /// The same image, its layers named by where they are now.
    #[must_use]
    pub fn current(&self) -> Image {
        match self.0.layers.iter().any(|layer| layer.moved_to().is_some()) {
            false => self.clone(),
            true => {
                let layers = self.0.layers.iter().map(Layer::current).collect();
                self.succeeded_by(layers, self.0.size_pages, &PageSet::new())
            }
        }
    }

    /// The image is durable after a sync whose mark is at least this.
    pub fn sequence(&self) -> u64 {
        self.0.layers.iter().map(Layer::sequence).max().unwrap_or_default()
    }

    /// Bytes that the layers take in the store, without what they share with other images being told apart.
    pub fn stored_bytes(&self) -> u64 {
        self.0.layers.iter().map(|layer| layer.location().bytes).sum()
    }

    /// The hash of a page; that of a zero page if it is beyond the heap's end.
    ///
    /// # Errors
    ///
    /// If a layer's hashes cannot be read.
    pub fn page_hash(&self, page: PageNo) -> Result<PageHash, Error> {
        match self.find(page) {
            None => Ok(PageHash::ZERO),
            Some((layer, data_page)) => layer.hash(data_page),
        }
    }

    /// Reads a page and verifies it against its hash.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if its bytes are not those that were written.
    pub fn read(&self, page: PageNo, bytes: &mut PageBytes) -> Result<(), Error> {
        match self.find(page) {
            None => *bytes = ZERO_PAGE,
            Some((layer, data_page)) => {
                layer.read_verified(page, data_page, std::slice::from_mut(bytes))?;
            }
        }
        Ok(())
    }

    /// The layer and data page that hold a page; `None` if it is zero.
    pub(crate) fn find(&self, page: PageNo) -> Option<(&Layer, u32)> {
        let found = self.0.layers.iter().rev().find_map(|layer| Some((layer, layer.find(page)?)));
        match found {
            Some((layer, Found::Data { data_page })) => Some((layer, data_page)),
            Some((_, Found::Zero)) | None => None,
        }
    }

    /// The pages that are not zero, in order, with their hashes.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a layer's hashes do not match their checksum.
    pub fn pages_nonzero(&self) -> Result<impl Iterator<Item = (PageNo, PageHash)> + use<>, Error> {
        let hashes = self.0.layers.iter().map(Layer::all_hashes).collect::<Result<Vec<_>, _>>()?;
        let pages = self.extents(0).into_iter().flat_map(|extent| {
            match extent.content {
                RunContent::Zero => 0..0,
                RunContent::Data { .. } => extent.first..extent.end(),
            }
            .map(move |page| (page, extent))
        });
        Ok(pages.filter_map(move |(page, extent)| {
            let RunContent::Data { data_page } = extent.part(page, 1).content else { return None };
            let hash = hashes[extent.layer][data_page as usize];
            (hash != PageHash::ZERO).then_some((PageNo(page), hash))
        }))
    }

    /// The tree over the page hashes.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a layer's hashes do not match their checksum.
    pub fn tree(&self) -> Result<HeapTree, Error> {
        Ok(self.pages_nonzero()?.collect())
    }

    /// The heap root: 32 bytes that name this content, with the vat's encoded globals and the hash of its
    /// module. Asked of an image whose predecessor was asked, it costs what changed in between.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a layer's hashes do not match their checksum; [`Error::Missing`] or [`Error::Io`].
    pub fn root(&self, globals: &[u8], module: &[u8; 32]) -> Result<HeapRoot, Error> {
        Ok(HeapRoot::new(self.groups()?.hash(), self.size_pages(), globals, module))
    }

    fn groups(&self) -> Result<&GroupTree, Error> {
        if let Some(groups) = self.0.groups.get() {
            return Ok(groups);
        }
        let groups = match &self.0.known {
            Some(Known { groups, changed }) => {
                // Single hashes are not verified when they are read; layers whose hashes were, are passed over.
                self.0.layers.iter().try_for_each(Layer::verify_hashes)?;
                let changed: BTreeSet<Group> = changed.pages().map(Group::of).collect();
                let hashed =
                    changed.into_iter().map(|group| Ok((group, group.hash(|page| self.page_hash(page))?)));
                groups.updated(&hashed.collect::<Result<Vec<_>, Error>>()?)
            }
            None => self.all_groups()?,
        };
        Ok(self.0.groups.get_or_init(|| groups))
    }

    fn all_groups(&self) -> Result<GroupTree, Error> {
        let pages: Vec<(PageNo, PageHash)> = self.pages_nonzero()?.collect();
        let mut groups = Vec::new();
        for pages in pages.chunk_by(|(a, _), (b, _)| Group::of(*a) == Group::of(*b)) {
            let hash_of = |page| match pages.binary_search_by_key(&page, |(page, _)| *page) {
                Ok(found) => Ok::<_, Error>(pages[found].1),
                Err(_) => Ok(PageHash::ZERO),
            };
            let group = Group::of(pages[0].0);
            groups.push((group, group.hash(hash_of)?));
        }
        Ok(GroupTree::default().updated(&groups))
    }

    /// A proof that a page belongs to the heap root.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] if a layer's hashes do not match their checksum.
    ///
    /// # Panics
    ///
    /// If the page is not one of [`HEAP_PAGES_MAX`].
    pub fn proof(&self, page: PageNo, globals: &[u8], module: &[u8; 32]) -> Result<PageProof, Error> {
        Ok(self.tree()?.proof(page, self.size_pages(), globals, module))
    }

    /// How the image is brought into a fresh range.
    pub fn plan(&self) -> &RestorePlan {
        self.0.plan.get_or_init(|| RestorePlan::new(self))
    }

    /// Writes the whole heap into `heap`, which is zero beforehand: restore by copying. The bytes are not
    /// verified, as they are not when they are mapped.
    ///
    /// # Errors
    ///
    /// [`Error::Missing`] or [`Error::Io`] if they cannot be read.
    ///
    /// # Panics
    ///
    /// If `heap` is shorter than the image.
    pub fn read_all(&self, heap: &mut [u8]) -> Result<(), Error> {
        for extent in self.extents(0) {
            if let RunContent::Data { data_page } = extent.content {
                let layer = &self.0.layers[extent.layer];
                let bytes = &mut heap[PageNo(extent.first).offset()..PageNo(extent.end()).offset()];
                layer.read(bytes, layer.data_offset(data_page))?;
            }
        }
        Ok(())
    }

    /// Reads these pages and verifies them against their hashes.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`] names the first page whose bytes are not those that were written; [`Error::Missing`], [`Error::Io`].
    pub fn verify(&self, pages: impl IntoIterator<Item = PageNo>) -> Result<(), Error> {
        let mut bytes = ZERO_PAGE;
        pages.into_iter().try_for_each(|page| self.read(page, &mut bytes))
    }

    /// Asks the kernel to bring the stored bytes of these pages into the page cache, without waiting: a vat's
    /// recorded working set, before it is restored.
    pub fn prefetch(&self, pages: &PageSet) {
        let mut wanted = BTreeSet::new();
        for (layer, data_page) in pages.pages().filter_map(|page| self.find(page)) {
            wanted.insert((layer.location().segment, layer.file_offset(data_page)));
        }
        let file = |segment| self.0.layers.iter().find(|layer| layer.location().segment == segment);
        let mut wanted = wanted.into_iter().peekable();
        while let Some((segment, offset)) = wanted.next() {
            let mut bytes = PAGE_BYTES as u64;
            while wanted.next_if_eq(&(segment, offset + bytes)).is_some() {
                bytes += PAGE_BYTES as u64;
            }
            if let Some(layer) = file(segment) {
                layer.file().prefetch(offset, bytes);
            }
        }
    }

    /// The image without layering: what each page's topmost layer says, sorted and disjoint; only layers from
    /// `lowest` on.
    pub(crate) fn extents(&self, lowest: usize) -> Vec<Extent> {
        let mut extents = Vec::new();
        for (layer, found) in self.0.layers.iter().enumerate().skip(lowest).rev() {
            let runs = found.runs().iter().map(|run| Extent {
                first: run.first,
                count: run.count,
                layer,
                content: run.content,
            });
            extents = beneath(extents, runs);
        }
        extents
    }
}

/// Adds lower extents where the upper ones have gaps.
fn beneath(upper: Vec<Extent>, lower: impl Iterator<Item = Extent>) -> Vec<Extent> {
    let mut merged = Vec::with_capacity(upper.len() + lower.size_hint().0);
    let mut upper = upper.into_iter().peekable();
    for extent in lower {
        let mut at = extent.first;
        while at < extent.end() {
            match upper.peek().filter(|above| above.first < extent.end()) {
                Some(above) if above.first <= at => {
                    at = at.max(above.end());
                    if above.end() <= extent.end() {
                        merged.extend(upper.next());
                    }
                }
                above => {
                    let end = above.map_or(extent.end(), |above| above.first);
                    merged.push(extent.part(at, end - at));
                    at = end;
                }
            }
        }
    }
    merged.extend(upper);
    merged
}
