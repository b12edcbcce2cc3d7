//! What can go wrong on the host's side. A guest's fault is never one of these: it is an outcome ([`vat_abi::VatFault`]).

use std::path::PathBuf;

/// Why a module is not accepted. Deterministic: every host gives the same answer for the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The bytes are not a complete, valid module of the accepted features.
    #[error("the module is not valid{}: {reason} (at byte {offset:#x}){}", place(.function), advice(.hint))]
    Invalid {
        /// Name or index of the function in which it was found.
        function: Option<String>,
        /// What is wrong.
        reason: String,
        /// Where in the file.
        offset: usize,
        /// What to do about it, where something can be said.
        hint: Option<&'static str>,
    },
    /// An instruction whose effect cannot be captured, or is not deterministic.
    #[error("the module uses `{instruction}`{}, which is refused: {why}", place(.function))]
    Instruction {
        /// Its name in the text format.
        instruction: String,
        /// Name or index of the function that contains it.
        function: Option<String>,
        /// Why, and what to do.
        why: &'static str,
    },
    /// Something declared by the module that cannot be captured.
    #[error("the module declares {what}, which is refused: {why}")]
    Declaration {
        /// The declaration.
        what: String,
        /// Why, and what to do.
        why: &'static str,
    },
    /// An import that no vat is given.
    #[error("the module imports `{module}.{name}`{detail}; a vat may import only {allowed}")]
    Import {
        /// The import's module.
        module: String,
        /// The import's name.
        name: String,
        /// A wrong kind or type, where that is the reason.
        detail: String,
        /// What there is.
        allowed: &'static str,
    },
    /// An export that a vat must have, or must not.
    #[error("the module {what}; {fix}")]
    Export {
        /// What is wrong with its exports.
        what: String,
        /// What to do.
        fix: &'static str,
    },
    /// More of something than a module may have.
    #[error("the module has {found} {what}{}; at most {limit} are accepted", place(.function))]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        found: u64,
        /// The limit.
        limit: u64,
        /// The function, where it is one's.
        function: Option<String>,
    },
    /// Birth failed: the old start function or `_initialize` did not return.
    #[error("the module's birth (start function and `_initialize`) failed: {0}")]
    Birth(String),
}

fn place(function: &Option<String>) -> String {
    function.as_ref().map(|name| format!(" in function {name}")).unwrap_or_default()
}

fn advice(hint: &Option<&'static str>) -> String {
    hint.map(|text| format!("; {text}")).unwrap_or_default()
}

/// The host's failure. Nothing of it is recorded; the crank is abandoned and may be tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The engine below could not be set up, or could not compile an accepted module.
    #[error("{what}: {reason}")]
    Engine {
        /// What was attempted.
        what: &'static str,
        /// The engine's own words.
        reason: String,
    },
    /// Address space or memory for a vat could not be had, or its image could not be read.
    #[error("{what}: {source}")]
    Image {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        #[source]
        source: vat_image::Error,
    },
    /// The directory of compiled code cannot be used.
    #[error("cannot use the code cache {path}: {source}")]
    CodeCache {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A saved state does not fit the module it is restored into.
    #[error("the saved state does not fit the module: {0}")]
    StateMismatch(String),
    /// The vat's memory limit is below what its module needs to start.
    #[error(
        "the module needs {needed} wasm pages of memory to start, the vat may have {limit}; raise its memory limit"
    )]
    MemoryLimitTooLow {
        /// What the module declares as minimum.
        needed: u64,
        /// What the vat may have.
        limit: u64,
    },
    /// The syscall handler gave up; the crank is abandoned.
    #[error("the crank was abandoned by its syscall handler: {0}")]
    Abandoned(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The delivery breaks a limit of the ABI, and no vat is given it.
    #[error("the delivery cannot be made: {0}")]
    Delivery(#[source] vat_abi::Violation),
    /// What the delivery did is more than a transcript entry may say.
    #[error("the delivery cannot be recorded: {0}")]
    Unrecordable(#[source] vat_abi::Violation),
    /// The instance has already failed and must be dropped.
    #[error("this instance already failed and cannot be used; restore the vat")]
    Spent,
}
