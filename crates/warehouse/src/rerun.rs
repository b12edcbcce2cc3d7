//! A vat that lives its transcript again, from birth, beside everything: nothing of it reaches the store, the page store or
//! the vats in memory. What statements and archives claim is held against it.
//!
//! Deliveries that faulted run on a copy, since a fault leaves an instance that cannot go on. The first difference ends it.

use vat_engine::VatInstance;
use vat_image::HeapRoot;
use vat_storage::ModuleHash;

use crate::error::Error;
use crate::moment::root_of;
use crate::options::KeptOptions;
use crate::page_in::crank_context;
use crate::replay::{recorded, replay_delivery};
use crate::warehouse::Inner;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Rerun<'a> {
    inner: &'a Inner,
    vat: String,
    incarnation: u32,
    kept: KeptOptions,
    instance: VatInstance,
}

impl<'a> Rerun<'a> {
    pub(crate) fn new(
        inner: &'a Inner,
        vat: &str,
        module: ModuleHash,
        incarnation: u32,
        kept: KeptOptions,
    ) -> Result<Rerun<'a>, Error> {
        let module = inner.module(module)?;
        let instance = VatInstance::birth(&inner.engine, &module, kept.options.memory_pages_max)?;
        Ok(Rerun { inner, vat: vat.to_owned(), incarnation, kept, instance })
    }

    /// Lives one delivery again.
    ///
    /// # Errors
    /// [`Error::ReplayDiffers`] if it went differently, [`Error::Damaged`] if the entry is not one.
    pub(crate) fn step(&mut self, position: u64, entry: Vec<u8>) -> Result<(), Error> {
        let entry = recorded(&self.vat, position, entry)?;
        let context = crank_context(&self.instance, &self.kept, self.incarnation, position, entry.time_ns());
        let divergence = if entry.outcome().fault().is_some() {
            let mut copy = self.instance.duplicate(&self.inner.engine)?;
            replay_delivery(&mut copy, &self.vat, position, entry, &context)?
        } else {
            replay_delivery(&mut self.instance, &self.vat, position, entry, &context)?
        };
        match divergence {
            None => Ok(()),
            Some(divergence) => {
                Err(Error::ReplayDiffers { vat: self.vat.clone(), divergence: Box::new(divergence) })
            }
        }
    }

    /// The heap root now.
    pub(crate) fn root(&mut self) -> HeapRoot {
        root_of(&mut self.instance)
    }
}
