//! A module in the binary format as a list of sections, so that items can be put before and after those that it has.
//!
//! ```text
//!   "\0asm" 1 │ id size content │ id size content │ …
//!                       └─ count item item …        (all sections but start, data count and custom ones)
//! ```
//!
//! Bytes that are not touched stay as they are. Nothing is validated here: a module that is not of this form is given back as
//! `None`, and it is for `prepare` to say what is wrong with it.

use wasm_encoder::{Encode, Section, SectionId};

const HEADER: &[u8] = b"\0asm\x01\0\0\0";

/// The order in which sections stand; custom ones may stand anywhere.
const ORDER: [SectionId; 13] = [
    SectionId::Type,
    SectionId::Import,
    SectionId::Function,
    SectionId::Table,
    SectionId::Memory,
    SectionId::Tag,
    SectionId::Global,
    SectionId::Export,
    SectionId::Start,
    SectionId::Element,
    SectionId::DataCount,
    SectionId::Code,
    SectionId::Data,
];

/// A module's sections, in their order.
#[derive(Debug, Clone)]
pub(crate) struct Sections(Vec<(u8, Vec<u8>)>);

impl Sections {
    /// Takes a module apart.
    pub(crate) fn read(bytes: &[u8]) -> Option<Sections> {
        let mut rest = bytes.strip_prefix(HEADER)?;
        let mut sections = Vec::new();
        while let [id, after @ ..] = rest {
            let (size, after) = read_u32(after)?;
            let (content, after) = after.split_at_checked(size as usize)?;
            sections.push((*id, content.to_vec()));
            rest = after;
        }
        Some(Sections(sections))
    }

    /// Puts the module together.
    pub(crate) fn write(&self) -> Vec<u8> {
        let mut bytes = HEADER.to_vec();
        for (id, content) in &self.0 {
            bytes.push(*id);
            content.encode(&mut bytes);
        }
        bytes
    }

    /// Puts encoded items before those that the section has, which comes to be if it is not there.
    pub(crate) fn prepend(&mut self, id: SectionId, items: &[Vec<u8>]) -> Option<()> {
        self.change(id, items.len(), |old| [items.concat().as_slice(), old].concat())
    }

    /// Puts an encoded item behind those that the section has, which comes to be if it is not there.
    pub(crate) fn append(&mut self, id: SectionId, item: &[u8]) -> Option<()> {
        self.change(id, 1, |old| [old, item].concat())
    }

    /// Puts another section in the place of the one with the same id.
    pub(crate) fn replace(&mut self, section: &impl Section) -> Option<()> {
        let mut encoded = Vec::new();
        section.append_to(&mut encoded);
        let (_, content) = read_u32(&encoded[1..])?;
        self.content(section.id()).1 = content.to_vec();
        Some(())
    }

    /// Takes a section out.
    pub(crate) fn remove(&mut self, id: SectionId) {
        self.0.retain(|(found, _)| *found != id as u8);
    }

    fn change(&mut self, id: SectionId, added: usize, items: impl FnOnce(&[u8]) -> Vec<u8>) -> Option<()> {
        if added == 0 {
            return Some(());
        }
        let (_, content) = self.content(id as u8);
        let (count, old) = if content.is_empty() { (0, &[][..]) } else { read_u32(content)? };
        let mut changed = Vec::new();
        count.checked_add(u32::try_from(added).ok()?)?.encode(&mut changed);
        changed.extend(items(old));
        *content = changed;
        Some(())
    }

    /// The section with this id, empty and in its place if there was none.
    fn content(&mut self, id: u8) -> &mut (u8, Vec<u8>) {
        let place = |id: u8| ORDER.iter().position(|known| *known as u8 == id);
        let found = self.0.iter().position(|(found, _)| *found == id);
        let index = found.unwrap_or_else(|| {
            let later = |found: u8| place(found).is_some_and(|other| Some(other) > place(id));
            let index = self.0.iter().position(|(found, _)| later(*found)).unwrap_or(self.0.len());
            self.0.insert(index, (id, Vec::new()));
            index
        });
        &mut self.0[index]
    }
}

/// An unsigned LEB128 number and what follows it.
fn read_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}
