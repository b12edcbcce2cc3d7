//! Messages as a test writes and reads them: a method and serde values on this side, smallcaps on the vat's.

use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use vat_abi::{Allocator, CapData, Delivery, Message, Resolution, Syscall, SyscallRecord, Vref};
use vat_sdk::marshal::{from_capdata, to_capdata};
use vat_sdk::{Promise, Remote};

use crate::Rejection;
use crate::error::{Error, Result};

/// The first promise for an answer that a test's host makes; the next ones count up from it.
pub(crate) const RESULT_FIRST: u64 = 60;

/// The object `o-N` of some other vat, for use in arguments.
pub fn object(number: u64) -> Remote {
    reference("#\"$0\"", Vref::object(Allocator::Kernel, number))
}

/// The promise `p-N` of some other vat, for use in arguments. From 60 on, they are the promises for the answers
/// to the test's own messages.
pub fn promise(number: u64) -> Promise {
    reference("#\"&0\"", Vref::promise(Allocator::Kernel, number))
}

/// References have no constructors on the vat's side, where they can only be received; so they are received.
fn reference<T: DeserializeOwned>(body: &str, slot: Vref) -> T {
    let data = CapData { body: body.to_owned(), slots: vec![slot] };
    from_capdata(&data).expect("a slot of the right kind is a reference")
}

/// A message that the vat sent to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    target: Vref,
    message: Message,
}

impl Sent {
    /// Those among the syscalls.
    pub(crate) fn among(syscalls: &[SyscallRecord]) -> Vec<Sent> {
        let sent = |record: &SyscallRecord| match &record.syscall {
            Syscall::Send { target, message } => {
                Some(Sent { target: target.clone(), message: message.clone() })
            }
            _ => None,
        };
        syscalls.iter().filter_map(sent).collect()
    }

    /// Who it is for.
    pub fn target(&self) -> &Vref {
        &self.target
    }

    /// The name of the method.
    ///
    /// # Errors
    /// The message is not of the usual shape.
    pub fn method(&self) -> Result<String> {
        let (method, _): (String, IgnoredAny) = self.read()?;
        Ok(method)
    }

    /// The arguments, as a tuple or a list of what they are.
    ///
    /// # Errors
    /// They are something else.
    pub fn arguments<T: DeserializeOwned>(&self) -> Result<T> {
        let (_, arguments): (IgnoredAny, T) = self.read()?;
        Ok(arguments)
    }

    /// The promise for the answer, if the vat wants one.
    pub fn result(&self) -> Option<Promise> {
        self.message.result.clone().map(|result| reference("#\"&0\"", result))
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T> {
        let methargs = &self.message.methargs;
        from_capdata(methargs).map_err(|reason| Error::Answer { answer: methargs.body.clone(), reason })
    }
}

/// Marshals a value; `what` names it in the error.
pub(crate) fn marshal(what: impl Into<String>, value: &impl Serialize) -> Result<CapData> {
    to_capdata(value).map_err(|reason| Error::Marshal { what: what.into(), reason })
}

/// A message to the root object. `()` stands for no arguments.
pub(crate) fn message(method: &str, arguments: &impl Serialize, result: Option<Vref>) -> Result<Delivery> {
    let what = format!("{method}'s arguments");
    let listed = marshal(&what, arguments)?;
    let methargs = if listed == CapData::undefined() {
        marshal(what, &(method, [(); 0]))?
    } else if listed.body.starts_with("#[") {
        marshal(what, &(method, arguments))?
    } else {
        let reason =
            Rejection::type_error("they are no tuple or list; one argument is written `(argument,)`");
        return Err(Error::Marshal { what, reason });
    };
    Ok(Delivery::Message { target: Vref::root(), message: Message { methargs, result } })
}

/// The news that a promise was fulfilled.
pub(crate) fn fulfilled(promise: Vref, value: &impl Serialize) -> Result<Delivery> {
    let data = marshal("the value", value)?;
    Ok(Delivery::Notify(vec![Resolution::fulfilled(promise, data)]))
}

/// The news that a promise was rejected.
pub(crate) fn rejected(promise: Vref, reason: &Rejection) -> Delivery {
    Delivery::Notify(vec![Resolution::rejected(promise, reason.to_capdata())])
}

/// How a promise was settled by any of these syscalls.
pub(crate) fn resolution<'a>(
    syscalls: impl IntoIterator<Item = &'a SyscallRecord>,
    promise: &Vref,
) -> Option<&'a Resolution> {
    syscalls.into_iter().find_map(|record| match &record.syscall {
        Syscall::Resolve(resolutions) => resolutions.iter().find(|it| it.promise == *promise),
        _ => None,
    })
}

/// What a promise was fulfilled with.
pub(crate) fn value<T: DeserializeOwned>(resolution: &Resolution, call: &str) -> Result<T> {
    let data = &resolution.data;
    if resolution.rejected {
        return Err(Error::Rejected { call: call.to_owned(), reason: reason(data) });
    }
    from_capdata(data).map_err(|reason| Error::Answer { answer: data.body.clone(), reason })
}

/// A vat can reject with anything; what is no error is quoted.
fn reason(data: &CapData) -> Rejection {
    from_capdata(data).unwrap_or_else(|_| Rejection::new(format!("rejected with {}", data.body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_a_list_or_nothing() {
        let said = |written: Result<Delivery>| match written.unwrap() {
            Delivery::Message { message, .. } => message.methargs,
            other => panic!("{other}"),
        };
        assert_eq!(said(message("m", &(), None)).body, r##"#["m",[]]"##);
        assert_eq!(said(message("m", &(1, "a"), None)).body, r##"#["m",[1,"a"]]"##);
        assert_eq!(said(message("m", &[7], None)).body, r##"#["m",[7]]"##);
        let refused = message("m", &7, None).unwrap_err();
        assert!(refused.to_string().contains("(argument,)"), "{refused}");
        let slots = said(message("m", &(object(3), promise(4)), None)).slots;
        assert_eq!(slots, ["o-3", "p-4"].map(|it| it.parse::<Vref>().unwrap()));
    }
}
