//! What a simulation did, in numbers.

/// What a simulation did.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Summary {
    pub(crate) deliveries: u64,
    pub(crate) crashes: u64,
    /// Faults of the disk that were met.
    pub(crate) faults: u64,
    pub(crate) evictions: u64,
    pub(crate) replayed: u64,
    pub(crate) upgrades: u64,
    /// Moments that were compared with what was recorded then.
    pub(crate) moments: u64,
    /// Vats converted in the background.
    pub(crate) converted: u64,
    /// Spans without entries at the ends of lives.
    pub(crate) pruned: u64,
    /// Exports, with an import elsewhere.
    pub(crate) moves: u64,
    /// Exports that could not be signed, since an earlier import came without a past.
    pub(crate) unsigned: u64,
}

impl Summary {
    pub(super) fn add(&mut self, other: Summary) {
        self.deliveries += other.deliveries;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.evictions += other.evictions;
        self.replayed += other.replayed;
        self.upgrades += other.upgrades;
        self.moments += other.moments;
        self.converted += other.converted;
        self.pruned += other.pruned;
        self.moves += other.moves;
        self.unsigned += other.unsigned;
    }
}
