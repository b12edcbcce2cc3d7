//! What an impl block under `#[vat]` says: its methods, how it starts, who hears of settled promises.
//!
//! Everything that would make a vat misbehave at run time is refused here with the place and the remedy:
//! generic methods, `async`, two methods of one name. Functions without `self` are the author's own, but
//! `start`.

use proc_macro2::{Span, TokenStream};
use syn::spanned::Spanned;
use syn::{
    Error, FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, LitStr, Pat, ReceiverKind, Result, ReturnType, Type,
};

/// The parts of the block that the expansion is made of.
pub(crate) struct Block {
    pub(crate) start: Option<Function>,
    pub(crate) settled: Option<Ident>,
    pub(crate) methods: Vec<Method>,
}

/// A method that others may call.
pub(crate) struct Method {
    /// What they call it.
    pub(crate) name: String,
    pub(crate) function: Function,
}

/// A function of the block.
pub(crate) struct Function {
    pub(crate) ident: Ident,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) returns: Returns,
    /// Where its answer's type stands, for the compiler's complaints about it.
    pub(crate) answer: Span,
}

/// A parameter after `self`.
pub(crate) struct Parameter {
    /// What messages call it.
    pub(crate) name: String,
    pub(crate) ty: Type,
}

/// How a function ends, by the spelling of its type.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Returns {
    /// A `Result`: an `Err` rejects the promise.
    Result,
    /// Anything else.
    Plain,
}

/// What `#[vat(…)]` on a method says.
enum Mark {
    Name(LitStr),
    Settled,
}

impl Block {
    /// Reads the block and removes our attributes from its methods.
    pub(crate) fn read(attribute: TokenStream, item: &mut ItemImpl) -> Result<Block> {
        if !attribute.is_empty() {
            return Err(Error::new(attribute.span(), "#[vat] takes no arguments here"));
        }
        if let Some((path, _)) = &item.trait_ {
            return Err(Error::new(
                path.span(),
                "#[vat] belongs on the type's own impl block, not on a trait's",
            ));
        }
        if !item.generics.params.is_empty() {
            let message = "a vat's root object is one type: it cannot be generic";
            return Err(Error::new(item.generics.span(), message));
        }
        let mut block = Block { start: None, settled: None, methods: Vec::new() };
        for function in item.items.iter_mut().filter_map(as_function) {
            block.add(function)?;
        }
        Ok(block)
    }

    fn add(&mut self, function: &mut ImplItemFn) -> Result<()> {
        let mark = take_mark(function)?;
        let ident = &function.sig.ident;
        if function.sig.receiver().is_none() {
            if mark.is_some() {
                return Err(Error::new(ident.span(), "#[vat(…)] belongs on methods, which have a `self`"));
            }
            if ident == "start" {
                let start = Function::read(function)?;
                if start.parameters.len() > 1 {
                    return Err(Error::new(ident.span(), "`start` gets one value, the vat's parameters"));
                }
                self.start = Some(start);
            }
            return Ok(());
        }
        let name = match mark {
            Some(Mark::Settled) if self.settled.is_some() => {
                return Err(Error::new(ident.span(), "a vat has one #[vat(settled)] method"));
            }
            Some(Mark::Settled) => {
                self.settled = Some(ident.clone());
                return Ok(());
            }
            Some(Mark::Name(name)) => name.value(),
            None => ident.to_string(),
        };
        if self.methods.iter().any(|method| method.name == name) {
            return Err(Error::new(ident.span(), format!("another method is called `{name}`")));
        }
        self.methods.push(Method { name, function: Function::read(function)? });
        Ok(())
    }
}

fn as_function(item: &mut ImplItem) -> Option<&mut ImplItemFn> {
    match item {
        ImplItem::Fn(function) => Some(function),
        _ => None,
    }
}

fn take_mark(function: &mut ImplItemFn) -> Result<Option<Mark>> {
    let Some(index) = function.attrs.iter().position(|attribute| attribute.path().is_ident("vat")) else {
        return Ok(None);
    };
    let attribute = function.attrs.remove(index);
    let mut mark = None;
    attribute.parse_nested_meta(|meta| {
        mark = if meta.path.is_ident("name") {
            Some(Mark::Name(meta.value()?.parse()?))
        } else if meta.path.is_ident("settled") {
            Some(Mark::Settled)
        } else {
            return Err(meta.error("expected `name = \"…\"` or `settled`"));
        };
        Ok(())
    })?;
    Ok(mark)
}

impl Function {
    fn read(function: &ImplItemFn) -> Result<Function> {
        let signature = &function.sig;
        if let Some(asyncness) = &signature.asyncness {
            return Err(Error::new(
                asyncness.span(),
                "methods of a vat run to their end: `async` is not supported",
            ));
        }
        if signature.generics.type_params().next().is_some() {
            let message = "a message does not say which type is meant: a method of a vat cannot be generic";
            return Err(Error::new(signature.generics.span(), message));
        }
        if let Some(FnArg::Receiver(receiver)) = signature.inputs.first()
            && !matches!(receiver.kind, ReceiverKind::Reference(..))
        {
            let message = "a vat's root object outlives the message: take `&self` or `&mut self`";
            return Err(Error::new(receiver.span(), message));
        }
        Ok(Function {
            ident: signature.ident.clone(),
            parameters: signature.inputs.iter().filter_map(Parameter::read).collect(),
            returns: Returns::read(&signature.output),
            answer: signature.output.span(),
        })
    }
}

impl Parameter {
    fn read(input: &FnArg) -> Option<Parameter> {
        let FnArg::Typed(input) = input else { return None };
        let name = match &*input.pat {
            Pat::Ident(pattern) => pattern.ident.to_string(),
            _ => "argument".to_owned(),
        };
        Some(Parameter { name, ty: (*input.ty).clone() })
    }
}

impl Returns {
    fn read(output: &ReturnType) -> Returns {
        match output {
            ReturnType::Type(_, ty) if is_result(ty) => Returns::Result,
            _ => Returns::Plain,
        }
    }
}

fn is_result(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|segment| segment.ident == "Result"),
        _ => false,
    }
}
