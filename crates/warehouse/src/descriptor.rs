//! The stored form of a captured state: which layers make up the heap, its size, the globals.
//!
//! ```text
//!   version: u8 = 1
//!   size: u32        4 KiB pages of the heap
//!   globals: u32     bytes, then the canonical encoding of the globals
//!   layers: u32      count, then each layer's id as u64, lowest layer first
//!   touched: u32     count, then runs of pages, each first page u32 and count u32: the working set, to be prefetched
//! ```
//!
//! All integers little-endian; the first 16 bytes of BLAKE3 over all of it end it. Where a layer lies in the page store is not
//! here but in the store's `layers` table, so that compaction moves a layer without touching the states that use it.

use vat_engine::Globals;
use vat_image::{PageRun, PageSet};
use vat_storage::LayerId;

const VERSION: u8 = 1;

/// What a state is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Descriptor {
    pub(crate) size_pages: u32,
    pub(crate) globals: Globals,
    pub(crate) layers: Vec<LayerId>,
    /// The pages that were touched between a page-in and an eviction. A hint: it may be empty, or wrong.
    pub(crate) touched: PageSet,
}

/// Why stored bytes are not a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DescriptorError {
    /// They were changed, or cut short.
    #[error("the snapshot's description is damaged")]
    Damaged,
    /// They were written by a later version of this program.
    #[error("the snapshot's description has version {0}, which this program does not know")]
    Version(u8),
}

impl Descriptor {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let globals = self.globals.encode();
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.size_pages.to_le_bytes());
        bytes.extend_from_slice(&length(globals.len()));
        bytes.extend_from_slice(&globals);
        bytes.extend_from_slice(&length(self.layers.len()));
        bytes.extend(self.layers.iter().flat_map(|layer| layer.0.to_le_bytes()));
        let runs = self.touched.runs();
        bytes.extend_from_slice(&length(runs.len()));
        bytes
            .extend(runs.iter().flat_map(|run| [run.first.to_le_bytes(), run.count.to_le_bytes()]).flatten());
        let sum = *blake3::hash(&bytes).as_bytes();
        bytes.extend_from_slice(&sum[..SUM_BYTES]);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Descriptor, DescriptorError> {
        let (body, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(DescriptorError::Damaged)?;
        if blake3::hash(body).as_bytes()[..SUM_BYTES] != *sum {
            return Err(DescriptorError::Damaged);
        }
        let (version, rest) = body.split_first().ok_or(DescriptorError::Damaged)?;
        if *version != VERSION {
            return Err(DescriptorError::Version(*version));
        }
        Self::fields(rest).ok_or(DescriptorError::Damaged)
    }

    fn fields(rest: &[u8]) -> Option<Descriptor> {
        let (size_pages, rest) = u32_le(rest)?;
        let (globals_bytes, rest) = u32_le(rest)?;
        let (globals, rest) = rest.split_at_checked(globals_bytes as usize)?;
        let (layers, rest) = eights(rest)?;
        let (runs, rest) = eights(rest)?;
        let mut touched = PageSet::new();
        let mut end = 0u32;
        for run in runs {
            let [a, b, c, d, e, f, g, h] = run;
            let run =
                PageRun { first: u32::from_le_bytes([a, b, c, d]), count: u32::from_le_bytes([e, f, g, h]) };
            if run.first < end {
                return None;
            }
            end = run.first.checked_add(run.count)?;
            touched.push(run);
        }
        let layers = layers.into_iter().map(|id| LayerId(u64::from_le_bytes(id))).collect();
        let globals = Globals::decode(globals)?;
        rest.is_empty().then_some(Descriptor { size_pages, globals, layers, touched })
    }
}

/// Bytes of the sum at the end.
const SUM_BYTES: usize = 16;

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("globals and layers are bounded").to_le_bytes()
}

/// A count, then so many times eight bytes; and what is left.
fn eights(bytes: &[u8]) -> Option<(Vec<[u8; 8]>, &[u8])> {
    let (count, rest) = u32_le(bytes)?;
    let (eights, rest) = rest.split_at_checked((count as usize).checked_mul(8)?)?;
    let eights = eights.chunks_exact(8).map(|eight| eight.try_into().expect("eight bytes")).collect();
    Some((eights, rest))
}

fn u32_le(bytes: &[u8]) -> Option<(u32, &[u8])> {
    bytes.split_first_chunk::<4>().map(|(head, rest)| (u32::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vat_engine::GlobalValue;
    use vat_image::PageNo;

    fn descriptor() -> Descriptor {
        Descriptor {
            size_pages: 272,
            globals: Globals::new(vec![GlobalValue::I32(65_536)]),
            layers: vec![LayerId(7), LayerId(1 << 40)],
            touched: [3, 4, 9].map(PageNo).into_iter().collect(),
        }
    }

    #[test]
    fn it_reads_back() {
        assert_eq!(Descriptor::decode(&descriptor().encode()), Ok(descriptor()));
    }

    #[test]
    fn the_bytes_are_golden() {
        let hex = descriptor().encode().iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert!(
            hex.starts_with("01100100000900000001000000000000010002000000070000000000000000000000000100"),
            "{hex}"
        );
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let good = descriptor().encode();
        for index in 0..good.len() {
            let mut bad = good.clone();
            bad[index] ^= 1;
            assert_eq!(Descriptor::decode(&bad), Err(DescriptorError::Damaged), "byte {index}");
            assert_eq!(Descriptor::decode(&good[..index]), Err(DescriptorError::Damaged), "cut {index}");
        }
    }
}
