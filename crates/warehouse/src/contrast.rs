//! What differs between two moments of a vat: pages, globals, vat storage.

use std::collections::BTreeSet;

use vat_engine::GlobalValue;
use vat_image::{PAGE_BYTES, PageNo};

use crate::error::Error;
use crate::moment::Moment;
use crate::name::VatName;
use crate::warehouse::Warehouse;

/// What differs between two moments, the first one's side before the second one's.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// Bytes of the heap.
    pub heap_bytes: (u64, u64),
    /// Runs of pages that differ. What one heap has beyond the other's end counts as differing if it is not zero.
    pub pages: Vec<ChangedPages>,
    /// Mutable globals that differ, by their number in the module's order.
    pub globals: Vec<ChangedGlobal>,
    /// Keys of vat storage that differ.
    pub keys: Vec<ChangedKey>,
}

/// Consecutive pages that differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangedPages {
    /// The first of them.
    pub first: PageNo,
    /// How many.
    pub count: u32,
    /// Bytes that differ in them.
    pub bytes: u64,
    /// Address of the first of these, and what it was and became.
    pub byte: (u64, u8, u8),
}

/// A global that differs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ChangedGlobal {
    /// Its number among the module's mutable globals.
    pub index: usize,
    /// What it was.
    pub before: Option<GlobalValue>,
    /// What it became.
    pub after: Option<GlobalValue>,
}

/// A key of vat storage that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedKey {
    /// The key.
    pub key: String,
    /// Its value then, if it had one.
    pub before: Option<String>,
    /// Its value later, if it has one.
    pub after: Option<String>,
}

impl Warehouse {
    /// What differs between the vat after the delivery at `a` and after the one at `b`.
    ///
    /// # Errors
    /// As [`Warehouse::at`].
    pub fn contrast(&self, name: &VatName, a: u64, b: u64) -> Result<Contrast, Error> {
        let (mut a, mut b) = (self.at(name, a)?, self.at(name, b)?);
        Ok(Contrast {
            heap_bytes: (a.heap().len() as u64, b.heap().len() as u64),
            pages: changed_pages(a.heap(), b.heap()),
            globals: changed_globals(&mut a, &mut b),
            keys: changed_keys(&a, &b)?,
        })
    }
}

/// Runs of pages in which two heaps differ, the shorter one as if it were followed by zeros.
pub(crate) fn changed_pages(a: &[u8], b: &[u8]) -> Vec<ChangedPages> {
    const ZERO: &[u8; PAGE_BYTES] = &[0; PAGE_BYTES];
    let (a, b) = (a.as_chunks::<PAGE_BYTES>().0, b.as_chunks::<PAGE_BYTES>().0);
    let mut runs: Vec<ChangedPages> = Vec::new();
    for (page, index) in (0..).zip(0..a.len().max(b.len())) {
        let (before, after) = (a.get(index).unwrap_or(ZERO), b.get(index).unwrap_or(ZERO));
        if before == after {
            continue;
        }
        let mut differing = before.iter().zip(after).enumerate().filter(|(_, (x, y))| x != y);
        let (offset, (x, y)) = differing.next().expect("the pages differ");
        let bytes = 1 + differing.count() as u64;
        match runs.last_mut() {
            Some(last) if last.first.0 + last.count == page => {
                last.count += 1;
                last.bytes += bytes;
            }
            _ => {
                let address = (index * PAGE_BYTES + offset) as u64;
                runs.push(ChangedPages { first: PageNo(page), count: 1, bytes, byte: (address, *x, *y) });
            }
        }
    }
    runs
}

fn changed_globals(a: &mut Moment, b: &mut Moment) -> Vec<ChangedGlobal> {
    let (a, b) = (a.globals(), b.globals());
    let (a, b) = (a.values(), b.values());
    let both = (0..a.len().max(b.len())).map(|index| (index, a.get(index).copied(), b.get(index).copied()));
    both.filter(|(_, before, after)| before != after)
        .map(|(index, before, after)| ChangedGlobal { index, before, after })
        .collect()
}

fn changed_keys(a: &Moment, b: &Moment) -> Result<Vec<ChangedKey>, Error> {
    let (a, b) = (a.storage()?, b.storage()?);
    let all: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let both = all.into_iter().map(|key| (key, a.get(key), b.get(key)));
    Ok(both
        .filter(|(_, before, after)| before != after)
        .map(|(key, before, after)| ChangedKey {
            key: key.clone(),
            before: before.cloned(),
            after: after.cloned(),
        })
        .collect())
}
