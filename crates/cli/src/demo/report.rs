//! What the demo found, as a table for people and an object for scripts.

use std::fmt::{self, Display};
use std::time::Duration;

use serde_json::{Value, json};

use crate::table::{Table, bytes, grouped};

/// Differences that are told one by one.
pub(crate) const DIFFERENCES_SHOWN: usize = 10;

/// What the demo found.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) vats: u64,
    /// How many of them each module has.
    pub(crate) modules: Vec<(&'static str, u64)>,
    pub(crate) online: u64,
    /// Messages delivered for good.
    pub(crate) messages: u64,
    /// Messages that the crash undid.
    pub(crate) uncommitted: u64,
    /// Whether every vat had exactly what was committed after the crash.
    pub(crate) is_intact: bool,
    pub(crate) creating: Duration,
    pub(crate) delivering: Duration,
    pub(crate) reopening: Duration,
    pub(crate) verifying: Duration,
    pub(crate) total: Duration,
    /// How long each page-in took, in nanoseconds.
    pub(crate) page_ins: Vec<u64>,
    pub(crate) rejected: u64,
    pub(crate) faulted: u64,
    pub(crate) evictions: u64,
    pub(crate) peak_memory_bytes: u64,
    pub(crate) resident_bytes: u64,
    pub(crate) total_bytes: u64,
    pub(crate) verified: u64,
    pub(crate) differences: Vec<String>,
}

impl Report {
    /// The keys are part of the command's interface.
    pub(crate) fn json(&self) -> Value {
        let (p50, p99) = self.page_in_tenths();
        json!({
            "vats": self.vats,
            "online": self.online,
            "messages": self.messages,
            "messages_per_s": self.messages_per_s(),
            "page_in_us": {"p50": as_float(p50), "p99": as_float(p99)},
            "evictions": self.evictions,
            "peak_memory_bytes": self.peak_memory_bytes,
            "resident_bytes": self.resident_bytes,
            "total_bytes": self.total_bytes,
            "reopen_ms": as_float(tenths(self.reopening.as_nanos(), 1_000_000)),
            "verified_vats": self.verified,
            "verdict": if self.differences.is_empty() { "identical" } else { "different" },
        })
    }

    fn messages_per_s(&self) -> u64 {
        let nanoseconds = self.delivering.as_nanos().max(1);
        u64::try_from(u128::from(self.messages) * 1_000_000_000 / nanoseconds).unwrap_or(u64::MAX)
    }

    /// The median and the 99th percentile of the page-ins, in tenths of microseconds.
    fn page_in_tenths(&self) -> (u64, u64) {
        let mut sorted = self.page_ins.clone();
        sorted.sort_unstable();
        let at = |percent: usize| {
            let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
            tenths(u128::from(sorted.get(index).copied().unwrap_or(0)), 1_000)
        };
        (at(50), at(99))
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::default();
        let modules: Vec<String> =
            self.modules.iter().map(|(module, vats)| format!("{} {module}", grouped(*vats))).collect();
        table.row(&[&"vats", &grouped(self.vats), &modules.join(", ")]);
        table.row(&[&"online", &grouped(self.online), &"in memory at the same time, at most"]);
        table.row(&[
            &"messages",
            &grouped(self.messages),
            &format_args!(
                "{} rejected, {} faulted as they should; {} more undone by the crash",
                grouped(self.rejected),
                grouped(self.faulted),
                grouped(self.uncommitted)
            ),
        ]);
        table.row(&[&"messages/s", &grouped(self.messages_per_s()), &"recorded and committed"]);
        let (p50, p99) = self.page_in_tenths();
        table.row(&[
            &"page-ins",
            &grouped(self.page_ins.len() as u64),
            &format_args!("p50 {} µs, p99 {} µs, making room included", decimal(p50), decimal(p99)),
        ]);
        table.row(&[&"evictions", &grouped(self.evictions), &""]);
        table.row(&[
            &"heaps",
            &bytes(self.total_bytes),
            &format_args!("of which {} are in memory, beside what is shared", bytes(self.resident_bytes)),
        ]);
        table.row(&[
            &"peak memory",
            &bytes(self.peak_memory_bytes),
            &"of the process, mapped files included",
        ]);
        table.row(&[
            &"reopen",
            &format_args!("{} ms", decimal(tenths(self.reopening.as_nanos(), 1_000_000))),
            &if self.is_intact {
                "after the crash; nothing committed was lost, nothing else was there"
            } else {
                "after the crash, which was NOT as if it had not happened"
            },
        ]);
        table.row(&[
            &"verified",
            &format_args!("{} vats", grouped(self.verified)),
            &"replayed from birth: syscalls, outcomes, computrons, heap bytes",
        ]);
        table.row(&[
            &"time",
            &seconds(self.total),
            &format_args!(
                "{} creating, {} delivering, {} verifying",
                seconds(self.creating),
                seconds(self.delivering),
                seconds(self.verifying)
            ),
        ]);
        let differences = format!("{} differences", grouped(self.differences.len() as u64));
        match self.differences.len() {
            0 => table.row(&[&"verdict", &"identical", &"nobody could tell which vats were in memory when"]),
            _ => table.row(&[&"verdict", &"DIFFERENT", &differences]),
        }
        write!(f, "{table}")
    }
}

fn tenths(nanoseconds: u128, unit: u128) -> u64 {
    u64::try_from(nanoseconds * 10 / unit).unwrap_or(u64::MAX)
}

fn decimal(tenths: u64) -> String {
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

#[expect(clippy::cast_precision_loss, reason = "a measurement of more than 2^53 tenths will not be missed")]
fn as_float(tenths: u64) -> f64 {
    tenths as f64 / 10.0
}

fn seconds(duration: Duration) -> String {
    format!("{} s", decimal(tenths(duration.as_nanos(), 1_000_000_000)))
}
