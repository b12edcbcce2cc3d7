//! A message's method and arguments, taken one by one.
//!
//! The generated code asks for each parameter by the name that the author gave it, so that an error can say
//! which one it is about. All errors here are the caller's and reject the caller's promise.

use crate::marshal::{self, Body};
use crate::{Error, Result, Vat};
use serde::de::DeserializeOwned;
use vat_abi::{CapData, Vref};

/// What a method, or `start`, was called with.
#[derive(Debug)]
pub struct Args {
    /// What is called, for error messages too.
    method: String,
    values: std::vec::IntoIter<Body>,
    /// How many there were at first.
    count: usize,
}

impl Args {
    /// Reads the parameters of `startVat`: one value.
    pub(crate) fn parameters(data: &CapData) -> Result<Args> {
        let body = Body::parse(data).map_err(|error| error.within("the vat's parameters"))?;
        Ok(Args { method: "start".to_owned(), values: vec![body].into_iter(), count: 1 })
    }

    /// Reads a message to `target`: `["method", [argument, …]]`.
    pub(crate) fn message(target: &Vref, methargs: &CapData) -> Result<Args> {
        if *target != Vref::root() {
            return Err(Error::type_error(format!("this vat has no object {target}")));
        }
        let body = Body::parse(methargs).map_err(|error| error.within("the message"))?;
        let (method, values) = body.into_method_and_arguments().ok_or_else(|| {
            Error::type_error("a message is an array of a method's name and an array of arguments")
        })?;
        Ok(Args { method, count: values.len(), values: values.into_iter() })
    }

    /// The name of the method.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Takes the next argument, for the parameter called `name`. A missing argument is `undefined`, as in
    /// JavaScript: good for an `Option`.
    ///
    /// # Errors
    /// A `TypeError` that names method and parameter, where the argument is no `T`.
    pub fn next<T: DeserializeOwned>(&mut self, name: &str) -> Result<T> {
        match self.values.next() {
            Some(value) => marshal::from_body(value).map_err(|error| error.within(&self.place(name))),
            None => marshal::from_body(Body::undefined())
                .map_err(|_| Error::type_error(format!("{}: the argument is missing", self.place(name)))),
        }
    }

    /// Checks that every argument was taken. Vat parameters that `start` does not ask for are no error.
    ///
    /// # Errors
    /// A `TypeError` where there are more arguments than parameters.
    pub fn end(&self) -> Result<()> {
        let taken = self.count - self.values.len();
        if taken == self.count || self.method == "start" && taken == 0 {
            return Ok(());
        }
        let message = format!("{}: {} arguments for {taken} parameters", self.method, self.count);
        Err(Error::type_error(message))
    }

    /// The error for a method that `V` does not have.
    #[doc(hidden)]
    pub fn unknown_method<V: Vat>(&self) -> Error {
        let known = V::METHODS.join(", ");
        Error::type_error(format!("no method {:?}; there are: {known}", self.method))
    }

    fn place(&self, parameter: &str) -> String {
        format!("{}({parameter})", self.method)
    }
}
