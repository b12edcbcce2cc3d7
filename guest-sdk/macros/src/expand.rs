//! Writes the code that leads from a message to a method.
//!
//! The generated code names everything by its full path and contains no `unsafe`: the module's export is
//! written by `vat_sdk::export_vat!`.

use crate::block::{Block, Function, Method, Parameter, Returns};
use proc_macro2::TokenStream;
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{ItemImpl, Type};

pub(crate) fn expand(item: &ItemImpl, block: &Block) -> TokenStream {
    let root = &item.self_ty;
    let start = start(root, block.start.as_ref());
    let methods = block.methods.iter().map(method);
    let names = block.methods.iter().map(|method| &method.name);
    let settled = block.settled.as_ref().map(|ident| {
        quote! {
            fn settled(&mut self, promise: ::vat_sdk::Promise, outcome: ::vat_sdk::Settled) {
                self.#ident(promise, outcome)
            }
        }
    });
    quote! {
        #item

        #[automatically_derived]
        impl ::vat_sdk::Vat for #root {
            const METHODS: &'static [&'static str] = &[#(#names),*];

            fn start(mut args: ::vat_sdk::Args) -> ::vat_sdk::Result<Self> { #start }

            fn dispatch(&mut self, mut args: ::vat_sdk::Args) -> ::vat_sdk::Result<::vat_sdk::CapData> {
                match args.method() {
                    #(#methods)*
                    _ => ::core::result::Result::Err(args.unknown_method::<Self>()),
                }
            }

            #settled
        }

        ::vat_sdk::export_vat!(#root);
    }
}

fn start(root: &Type, function: Option<&Function>) -> TokenStream {
    let Some(function) = function else {
        return quote! {
            let _ = &mut args;
            ::core::result::Result::Ok(<#root as ::core::default::Default>::default())
        };
    };
    let (bind, pass) = arguments(&function.parameters);
    let ident = &function.ident;
    let call = quote!(<#root>::#ident(#(#pass),*));
    match function.returns {
        Returns::Result => {
            quote! { #(#bind)* args.end()?; let root = #call?; ::core::result::Result::Ok(root) }
        }
        Returns::Plain => quote! { #(#bind)* args.end()?; ::core::result::Result::Ok(#call) },
    }
}

/// One arm: arguments in their order, no more than there are parameters, the call, the answer.
fn method(method: &Method) -> TokenStream {
    let (name, function) = (&method.name, &method.function);
    let (bind, pass) = arguments(&function.parameters);
    let ident = &function.ident;
    let call = quote!(self.#ident(#(#pass),*));
    let value = match function.returns {
        Returns::Result => quote!(#call?),
        Returns::Plain => call,
    };
    let marshal = quote_spanned!(function.answer=> ::vat_sdk::marshal::to_capdata(&answer));
    quote! {
        #name => {
            #(#bind)*
            args.end()?;
            // A method that returns nothing answers `()`, which is marshalled as undefined.
            #[allow(clippy::let_unit_value, reason = "generated for methods of every type")]
            let answer = #value;
            #marshal
        }
    }
}

/// The statements that take the arguments from `args`, and the expressions that pass them on.
fn arguments(parameters: &[Parameter]) -> (Vec<TokenStream>, Vec<TokenStream>) {
    parameters.iter().enumerate().map(|(index, parameter)| argument(index, parameter)).unzip()
}

/// A parameter `&T` is unmarshalled as the owned form of `T`, so that methods may ask for a `&str`.
fn argument(index: usize, parameter: &Parameter) -> (TokenStream, TokenStream) {
    let variable = format_ident!("argument_{index}");
    let Parameter { name, ty } = parameter;
    match ty {
        Type::Reference(reference) => {
            let target = &reference.elem;
            let bind = quote_spanned! { target.span() =>
                let #variable: <#target as ::std::borrow::ToOwned>::Owned = args.next(#name)?;
            };
            (bind, quote!(&#variable))
        }
        ty => (quote_spanned! { ty.span() => let #variable: #ty = args.next(#name)?; }, quote!(#variable)),
    }
}
