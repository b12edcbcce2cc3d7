//! References: objects of other vats, and promises.
//!
//! This is the first form: a reference is a value that can be held, compared, passed and called. The vat
//! keeps every reference it ever got; counting them and letting go belongs here when it comes.
//!
//! In serde's eyes a reference is a newtype of a secret name around its text, which is how [`crate::marshal`]
//! tells it from a string and moves it to the slots. Other formats (JSON in vatstore) see the text.

use crate::marshal::{self, REFERENCE, from_capdata};
use crate::{Error, Result, syscall};
use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use std::cell::Cell;
use std::fmt;
use vat_abi::{Allocator, CapData, Message, RefKind, Resolution, Vref};

/// An object that messages can be sent to: another vat's, or this vat's own root.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Remote(
    /// Invariant: an object or a device.
    Vref,
);

/// A promise for an answer.
///
/// A vat that wants to know how it ends subscribes to it, and is told in a later delivery through its
/// `#[vat(settled)]` method:
///
/// ```
/// use vat_sdk::{Promise, Remote, Result, Settled, vat};
///
/// #[derive(Default)]
/// struct Relay {
///     asked: Option<Promise>,
/// }
///
/// #[vat]
/// impl Relay {
///     fn ask(&mut self, whom: Remote) -> Result<()> {
///         let promise = whom.send("peek", &())?;
///         promise.subscribe()?;
///         self.asked = Some(promise);
///         Ok(())
///     }
///
///     #[vat(settled)]
///     fn heard(&mut self, promise: Promise, outcome: Settled) {
///         if self.asked == Some(promise) {
///             vat_sdk::info!("{:?}", outcome.value::<u64>());
///         }
///     }
/// }
/// # fn main() {}
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Promise(
    /// Invariant: a promise.
    Vref,
);

/// How a promise ended: what it was fulfilled with, or why it was rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled(std::result::Result<CapData, Error>);

thread_local! {
    /// The number of the next promise that the vat makes up. Part of the heap, so never used twice.
    static NEXT_PROMISE: Cell<u64> = const { Cell::new(5) };
}

impl Remote {
    /// This vat's own root object.
    pub fn root() -> Remote {
        Remote(Vref::root())
    }

    /// Its text, such as `o-52`.
    pub fn vref(&self) -> &Vref {
        &self.0
    }

    /// Sends a message and returns the promise for its answer. `arguments` is a tuple or a sequence: `&()`
    /// for none, `&(argument,)` for one.
    ///
    /// # Errors
    /// The arguments are of another shape or cannot be marshalled, or the host carries no messages.
    pub fn send(&self, method: &str, arguments: &impl Serialize) -> Result<Promise> {
        let methargs = marshal::call(method, arguments)?;
        let promise = Promise::fresh();
        syscall::send(self.0.clone(), Message { methargs, result: Some(promise.0.clone()) })?;
        Ok(promise)
    }

    /// Sends a message whose answer nobody waits for.
    ///
    /// # Errors
    /// As for [`Remote::send`].
    pub fn send_only(&self, method: &str, arguments: &impl Serialize) -> Result<()> {
        syscall::send(self.0.clone(), Message { methargs: marshal::call(method, arguments)?, result: None })
    }
}

impl Promise {
    fn fresh() -> Promise {
        let number = NEXT_PROMISE.get();
        NEXT_PROMISE.set(number + 1);
        Promise(Vref::promise(Allocator::Vat, number))
    }

    /// Its text, such as `p-60`.
    pub fn vref(&self) -> &Vref {
        &self.0
    }

    /// Asks to be told when it settles.
    ///
    /// # Errors
    /// The host carries no messages.
    pub fn subscribe(&self) -> Result<()> {
        syscall::subscribe(self.0.clone())
    }
}

impl Settled {
    pub(crate) fn read(resolution: Resolution) -> (Promise, Settled) {
        let outcome = if resolution.rejected { Err(reason(&resolution.data)) } else { Ok(resolution.data) };
        (Promise(resolution.promise), Settled(outcome))
    }

    /// What it was fulfilled with.
    ///
    /// # Errors
    /// The reason of the rejection; or a `TypeError`, where the value is no `T`.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T> {
        match &self.0 {
            Ok(data) => from_capdata(data),
            Err(error) => Err(error.clone()),
        }
    }
}

/// JavaScript can reject with anything; what is no error is quoted.
fn reason(data: &CapData) -> Error {
    from_capdata(data).unwrap_or_else(|_| Error::new(format!("rejected with {}", data.body)))
}

impl Serialize for Remote {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(REFERENCE, &self.0)
    }
}

impl Serialize for Promise {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(REFERENCE, &self.0)
    }
}

impl<'de> Deserialize<'de> for Remote {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Remote, D::Error> {
        let vref = deserializer.deserialize_newtype_struct(REFERENCE, Reference("an object"))?;
        match vref.kind() {
            RefKind::Object | RefKind::Device => Ok(Remote(vref)),
            RefKind::Promise => Err(serde::de::Error::custom("expected an object, got a promise")),
        }
    }
}

impl<'de> Deserialize<'de> for Promise {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Promise, D::Error> {
        let vref = deserializer.deserialize_newtype_struct(REFERENCE, Reference("a promise"))?;
        match vref.kind() {
            RefKind::Promise => Ok(Promise(vref)),
            RefKind::Object | RefKind::Device => {
                Err(serde::de::Error::custom("expected a promise, got an object"))
            }
        }
    }
}

/// Visits the newtype, and says what was expected.
struct Reference(&'static str);

impl<'de> Visitor<'de> for Reference {
    type Value = Vref;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Vref, D::Error> {
        Vref::deserialize(deserializer)
    }
}
