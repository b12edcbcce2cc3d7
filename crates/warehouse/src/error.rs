//! What can go wrong with a vat on the host's side. A guest's fault is not here: it is an outcome in a [`Report`](crate::Report).

use crate::name::VatName;
use crate::replay::Divergence;

/// The host's failure. The crank in which it happened left no trace, and may be tried again unless it says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such vat.
    #[error("there is no vat {0}; `vats list` shows which there are")]
    UnknownVat(String),
    /// There is no such module.
    #[error("there is no module {0}; install it first")]
    UnknownModule(String),
    /// A vat of that name lives.
    #[error("there is already a vat {0}; choose another name, or terminate it first")]
    DuplicateVat(VatName),
    /// The name is taken by another module.
    #[error("there is already another module {0}; choose another name")]
    DuplicateModule(String),
    /// The vat was not created because its `startVat` faulted.
    #[error("the vat {vat} was not created, since its start faulted: {fault}")]
    StartFaulted {
        /// Its name.
        vat: VatName,
        /// The fault.
        fault: vat_abi::VatFault,
    },
    /// The vat was not upgraded because the new code's `startVat` faulted; it goes on with its old code and state.
    #[error(
        "the vat {vat} was not upgraded and goes on as before, since the start of its new code faulted: {fault}"
    )]
    UpgradeFaulted {
        /// Its name.
        vat: VatName,
        /// The fault.
        fault: vat_abi::VatFault,
    },
    /// A replay of the vat's transcript differed from the record; the vat is quarantined and takes no deliveries.
    #[error("the vat {vat} is quarantined: {reason}")]
    Quarantined {
        /// Its name.
        vat: String,
        /// The evidence.
        reason: String,
    },
    /// Just now, a replay differed.
    #[error("the replay of vat {vat} differs from its transcript at {divergence}; the vat is quarantined")]
    Diverged {
        /// Its name.
        vat: String,
        /// The evidence.
        divergence: Box<Divergence>,
    },
    /// A replay differs from the transcript; nothing was changed because of it.
    #[error("the replay of vat {vat} differs from its transcript at {divergence}")]
    ReplayDiffers {
        /// Its name.
        vat: String,
        /// The evidence.
        divergence: Box<Divergence>,
    },
    /// The vat has had no such delivery.
    #[error("the vat {vat} has had no delivery {position}; its deliveries are 0 to {last}", last = deliveries.saturating_sub(1))]
    NoSuchPosition {
        /// Its name.
        vat: String,
        /// The position that was asked for.
        position: u64,
        /// Deliveries it has had.
        deliveries: u64,
    },
    /// The module of an older incarnation was deleted, so that its deliveries cannot be replayed.
    #[error(
        "the code of incarnation {incarnation} of vat {vat} was deleted; install it again to replay that time"
    )]
    CodeGone {
        /// Its name.
        vat: String,
        /// The incarnation.
        incarnation: u32,
    },
    /// What a vat's whole past hashes to cannot be known here.
    #[error(
        "what the transcript of vat {vat} hashes to is not known here: its entries {start}..{end} are missing, and no statement of a \
         trusted signer covers them; put them back from an archive that has them (`vats restore`), or import the vat with a trust list"
    )]
    PastUnknown {
        /// Its name.
        vat: String,
        /// The first position that is missing.
        start: u64,
        /// The position after the last of that span.
        end: u64,
    },
    /// Entries may not be pruned, for no snapshot can take their place.
    #[error(
        "nothing of vat {vat} was pruned: no snapshot that reads back right stands for its entries before {before}; deliver to it, so that it \
         is replayed and saved anew, then prune again"
    )]
    Uncovered {
        /// Its name.
        vat: String,
        /// The position before which entries would have gone.
        before: u64,
    },
    /// What is stored of a vat contradicts itself.
    #[error("the stored state of vat {vat} is damaged: {what}")]
    Damaged {
        /// Its name.
        vat: String,
        /// What was found.
        what: String,
    },
    /// The engine failed.
    #[error(transparent)]
    Engine(#[from] vat_engine::Error),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] vat_storage::Error),
    /// The page store failed.
    #[error("the page store failed: {0}")]
    Pages(#[from] vat_image::Error),
    /// The data directory cannot be made.
    #[error("cannot use the data directory {path}: {source}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The system gave no thread for background work.
    #[error("cannot start a thread for background work: {0}")]
    Thread(#[source] std::io::Error),
    /// The asynchronous part was called where no tokio runtime is.
    #[error("a page-in was asked for outside of a tokio runtime, or the runtime is shutting down")]
    NoRuntime,
}
