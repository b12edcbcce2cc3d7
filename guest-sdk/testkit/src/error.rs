//! What a test is told when the vat does not do what it was asked, or cannot be asked.
//!
//! A test that returns [`Result`] prints the error by `Debug`; so `Debug` is the text for people here, and what
//! it is made of can be matched on.

use std::fmt;
use std::sync::Arc;

use vat_abi::VatFault;

use crate::Rejection;
use crate::trace::Difference;

/// What the test kit's functions and its users' tests return.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

/// Why a step of a test did not go well.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The vat could not be compiled; the text says what to do.
    #[error("the vat could not be built: {0}")]
    Build(#[source] Arc<vat_sdk_build::Error>),
    /// The text of a module cannot be read.
    #[error("the module cannot be used: {0}")]
    Module(String),
    /// The vat rejected the promise for the answer.
    #[error("{call} was rejected: {reason}")]
    Rejected {
        /// The message.
        call: String,
        /// What the vat said.
        reason: Rejection,
    },
    /// The delivery faulted; what it did is undone.
    #[error("{call} faulted: {fault}")]
    Faulted {
        /// The delivery.
        call: String,
        /// How.
        fault: VatFault,
    },
    /// It was to be rejected or to fault, and was not.
    #[error("{call} was expected to be {expected}, and was not: {got}")]
    Unexpected {
        /// The message.
        call: String,
        /// What the test asked for.
        expected: &'static str,
        /// What happened.
        got: String,
    },
    /// The promise for the answer is not settled yet.
    #[error(
        "{promise} is not settled: the vat did not answer within the delivery; `send` and `answer` ask later"
    )]
    Unanswered {
        /// The promise.
        promise: String,
    },
    /// The answer is not of the type that the test asked for.
    #[error("the answer {answer} is not what was asked for: {reason}")]
    Answer {
        /// Its body.
        answer: String,
        /// What is wrong with it.
        reason: Rejection,
    },
    /// What the test wants to say cannot be marshalled.
    #[error("{what} cannot be marshalled: {reason}")]
    Marshal {
        /// Arguments, parameters or a value.
        what: String,
        /// Why.
        reason: Rejection,
    },
    /// The vat did not subscribe to the promise that the test wants to settle, so no host would tell it.
    #[error("the vat did not subscribe to {0}, so nobody would notify it")]
    NotSubscribed(String),
    /// A delivery that was lost in a crash did something else when it was made again, or a disturbed run
    /// differed from the steady one.
    #[error("{situation}: {difference}")]
    Different {
        /// What was done to the vat.
        situation: String,
        /// What differs.
        difference: Box<Difference>,
    },
    /// The replay from birth did not lead to the vat's state.
    #[error("{situation}: the replay from birth is {verdict}")]
    Replay {
        /// What was done to the vat.
        situation: String,
        /// The warehouse's finding.
        verdict: String,
    },
    /// The warehouse failed, or refused the module.
    #[error(transparent)]
    Host(#[from] vat_warehouse::Error),
    /// The test kit could not use the disk.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was to be done.
        what: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

impl Error {
    /// The reason, if the vat rejected.
    pub fn rejection(&self) -> Option<&Rejection> {
        match self {
            Error::Rejected { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// The fault, if the delivery faulted.
    pub fn fault(&self) -> Option<&VatFault> {
        match self {
            Error::Faulted { fault, .. } => Some(fault),
            _ => None,
        }
    }

    /// The difference, if two runs were not the same.
    pub fn difference(&self) -> Option<&Difference> {
        match self {
            Error::Different { difference, .. } => Some(difference),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
