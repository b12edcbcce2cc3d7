//! What the figures were measured on: without it, nobody can compare them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The machine at the beginning of a run.
#[derive(Debug, Clone)]
pub struct Machine {
    processor: String,
    processors: usize,
    memory: String,
    kernel: String,
    /// Runnable processes, averaged over 1, 5 and 15 minutes, before the run.
    load_before: String,
    /// What else a reader must know, as it is to be shown: a name and a text.
    facts: Vec<(&'static str, String)>,
}

impl Machine {
    /// As it is now. What cannot be found out is `unknown`.
    pub fn now() -> Machine {
        Machine {
            processor: field("/proc/cpuinfo", "model name"),
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            memory: field("/proc/meminfo", "MemTotal"),
            kernel: first_line("/proc/sys/kernel/osrelease"),
            load_before: load_average(),
            facts: Vec::new(),
        }
    }

    /// The same with something else that a reader must know. The name is one word in lower case, as in JSON.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<String>) -> Machine {
        self.facts.push((name, fact.into()));
        self
    }

    /// The same with the read-ahead of the disk that `path` is on, which decides what a cold page costs.
    #[must_use]
    pub fn with_disk_of(self, path: &Path) -> Machine {
        let fact = read_ahead(path).map_or("unknown".to_owned(), |kib| format!("{kib} KiB"));
        self.with("read_ahead", fact)
    }

    /// Lines for people. The load now is the last but the facts.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            format!(
                "{}, {} processors, {}, Linux {}",
                self.processor, self.processors, self.memory, self.kernel
            ),
            format!("load average {} before, {} after", self.load_before, load_average()),
        ];
        lines.extend(self.facts.iter().map(|(name, fact)| format!("{}: {fact}", name.replace('_', " "))));
        lines
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let mut about = json!({
            "processor": self.processor,
            "processors": self.processors,
            "memory": self.memory,
            "kernel": self.kernel,
            "load_before": self.load_before,
            "load_after": load_average(),
        });
        for (name, fact) in &self.facts {
            about[*name] = json!(fact);
        }
        about
    }
}

/// The load averages now.
pub fn load_average() -> String {
    first_line("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Anonymous memory and page tables of this process (`RssAnon + VmPTE`), in bytes; `None` where the system does not say. Pages
/// that heaps share with their images are in neither.
pub fn private_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kibibytes = |field: &str| -> Option<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(field))?;
        line.split_whitespace().next()?.parse().ok()
    };
    Some((kibibytes("RssAnon:")? + kibibytes("VmPTE:")?) * 1024)
}

/// Kibibytes that the disk reads ahead, by the setting of its device.
fn read_ahead(path: &Path) -> Option<u64> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let path = path.canonicalize().ok()?;
    // Fields: id, parent, major:minor, root, mount point, …
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields
        .filter(|fields| fields.get(4).is_some_and(|point| path.starts_with(point)))
        .max_by_key(|fields| fields[4].len())?;
    let setting = fs::read_to_string(format!("/sys/class/bdi/{}/read_ahead_kb", mount[2])).ok()?;
    setting.trim().parse().ok()
}

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
    line.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn first_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().unwrap_or("unknown").to_owned()
}
