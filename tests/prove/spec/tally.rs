//! What became of a script: counts of everything, so that nothing can go missing silently.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of one script, or of many.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    /// By what happened, in the words of the kept files.
    counts: BTreeMap<&'static str, u64>,
    /// Modules that are valid and not accepted, by reason.
    refused: BTreeMap<String, u64>,
    /// Directives that were not run, by reason.
    skipped: BTreeMap<String, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, what: &'static str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &'static str, times: u64) {
        *self.counts.entry(what).or_default() += times;
    }

    pub(crate) fn refuse(&mut self, reason: &str) {
        *self.refused.entry(reason.to_owned()).or_default() += 1;
    }

    pub(crate) fn skip(&mut self, reason: &str) {
        *self.skipped.entry(reason.to_owned()).or_default() += 1;
    }

    /// Adds the counts of another.
    pub(crate) fn merge(&mut self, other: &Tally) {
        other.counts.iter().for_each(|(what, times)| self.add(what, *times));
        for (ours, theirs) in [(&mut self.refused, &other.refused), (&mut self.skipped, &other.skipped)] {
            theirs.iter().for_each(|(reason, times)| *ours.entry(reason.clone()).or_default() += times);
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_counts(f, "", &self.counts)?;
        write_counts(f, "\n    refused: ", &self.refused)?;
        write_counts(f, "\n    not run: ", &self.skipped)
    }
}

fn write_counts<K: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    counts: &BTreeMap<K, u64>,
) -> fmt::Result {
    for (index, (what, times)) in counts.iter().filter(|(_, times)| **times > 0).enumerate() {
        write!(f, "{}{times} {what}", if index == 0 { heading } else { ", " })?;
    }
    Ok(())
}
