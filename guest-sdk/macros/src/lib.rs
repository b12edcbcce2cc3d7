//! The attribute that makes a Rust type a vat: `#[vat_sdk::vat]`, documented where authors meet it, in
//! `vat-sdk`.
//!
//! ```text
//!   #[vat] impl Counter { fn add(&mut self, by: u64) -> u64 { … } }
//!      │
//!      ├── the impl block itself, as it was written
//!      ├── impl vat_sdk::Vat for Counter { … match method { "add" => self.add(args.next("by")?) … } … }
//!      └── vat_sdk::export_vat!(Counter);         the module's entry point
//! ```
//!
//! It reads the block in `block` and writes the rest in `expand`. It knows no type but by its spelling:
//! that an argument can be unmarshalled, or an answer marshalled, is checked by the compiler in what it
//! wrote.

mod block;
mod expand;

use proc_macro::TokenStream;
use syn::{ItemImpl, parse_macro_input};

/// Makes a type the root object of a vat. See the documentation of `vat-sdk`.
#[proc_macro_attribute]
pub fn vat(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = parse_macro_input!(item as ItemImpl);
    match block::Block::read(attribute.into(), &mut item) {
        Ok(block) => expand::expand(&item, &block).into(),
        Err(error) => {
            let error = error.into_compile_error();
            quote::quote!(#item #error).into()
        }
    }
}
