//! The regression gate: ratios that were kept, and what a new ratio may be.
//!
//! ```text
//!   {
//!     "tolerance": 0.5,
//!     "figures": {
//!       "restore/heap=64MiB/dirty=0": { "dev": 1.9, "bench": 1.4 },
//!       "evict/heap=64MiB/dirty=16":  { "dev": 2.0, "bench": 1.5, "tolerance": 0.8 }
//!     }
//!   }
//! ```
//!
//! Times are not kept, for they belong to a machine and an hour; a ratio to the floor of the same second does not. Unoptimised code of
//! ours beside an optimised floor has other ratios, so each profile has its own. A regression is a ratio that is worse than what was
//! kept by more than the tolerance: larger for times and bytes, smaller for rates. A better ratio is no failure, and
//! is not written down by itself.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::figure::{Figure, Unit};

/// Ratios that were kept, for one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    tolerance: f64,
    figures: BTreeMap<String, Kept>,
}

/// What is kept of one figure.
#[derive(Debug, Clone, PartialEq, Default)]
struct Kept {
    /// By profile.
    ratios: BTreeMap<String, f64>,
    /// Its own tolerance.
    tolerance: Option<f64>,
}

/// How a ratio compares with the one that was kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// What was kept.
    pub kept: f64,
    /// The worst ratio that passes.
    pub limit: f64,
    /// Whether this one does.
    pub passes: bool,
}

/// A file that is no gate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the gate's file is damaged: {0}")]
pub struct DamagedGate(String);

impl Gate {
    /// Reads a gate.
    ///
    /// # Errors
    /// Anything but what [`Gate::to_json`] writes.
    pub fn from_json(text: &str) -> Result<Gate, DamagedGate> {
        let damaged = |why: &str| DamagedGate(why.to_owned());
        let value: Value = serde_json::from_str(text).map_err(|error| DamagedGate(error.to_string()))?;
        let tolerance = value["tolerance"].as_f64().ok_or_else(|| damaged("no tolerance"))?;
        let figures = value["figures"].as_object().ok_or_else(|| damaged("no figures"))?;
        let figures = figures.iter().map(|(name, kept)| {
            let kept = kept.as_object().and_then(Kept::read).ok_or_else(|| damaged(name))?;
            Ok((name.clone(), kept))
        });
        Ok(Gate { tolerance, figures: figures.collect::<Result<_, _>>()? })
    }

    /// The file's text.
    pub fn to_json(&self) -> String {
        let figures: Map<String, Value> =
            self.figures.iter().map(|(name, kept)| (name.clone(), kept.json())).collect();
        format!("{:#}\n", json!({ "tolerance": self.tolerance, "figures": figures }))
    }

    /// Names of the figures that it holds.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.figures.keys().map(String::as_str)
    }

    /// Compares a ratio with the one kept for this profile; `None` if none is.
    pub fn judge(&self, profile: &str, figure: &Figure, ratio: f64) -> Option<Judged> {
        let kept = self.figures.get(figure.name())?;
        let factor = 1.0 + kept.tolerance.unwrap_or(self.tolerance);
        let kept = *kept.ratios.get(profile)?;
        Some(match figure.unit() {
            Unit::PerSecond => Judged { kept, limit: kept / factor, passes: ratio >= kept / factor },
            _ => Judged { kept, limit: kept * factor, passes: ratio <= kept * factor },
        })
    }

    /// Writes a ratio down, with three digits; a figure that the gate does not hold stays out.
    pub fn keep(&mut self, profile: &str, figure: &Figure, ratio: f64) {
        if let Some(kept) = self.figures.get_mut(figure.name()) {
            let rounded = format!("{ratio:.2e}").parse().unwrap_or(ratio);
            kept.ratios.insert(profile.to_owned(), rounded);
        }
    }
}

impl Kept {
    fn read(map: &Map<String, Value>) -> Option<Kept> {
        let mut kept = Kept::default();
        for (key, value) in map {
            let number = value.as_f64().filter(|number| *number > 0.0)?;
            match key.as_str() {
                "tolerance" => kept.tolerance = Some(number),
                profile => drop(kept.ratios.insert(profile.to_owned(), number)),
            }
        }
        Some(kept)
    }

    fn json(&self) -> Value {
        let mut json = json!(self.ratios);
        if let Some(tolerance) = self.tolerance {
            json["tolerance"] = json!(tolerance);
        }
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"{"tolerance":0.5,"figures":{
        "evict":{"dev":2.0,"tolerance":1.0},"replay":{"dev":1.5,"bench":1.8},"restore":{"dev":2.0}}}"#;

    #[test]
    fn a_ratio_passes_up_to_its_tolerance() {
        let gate = Gate::from_json(FILE).unwrap();
        for (figure, ratio, limit, passes) in [
            (Figure::time("restore"), 2.9, 3.0, true),
            (Figure::time("restore"), 3.1, 3.0, false),
            (Figure::time("restore"), 0.1, 3.0, true),
            (Figure::time("evict"), 3.9, 4.0, true),
            (Figure::time("evict"), 4.1, 4.0, false),
            (Figure::rate("replay"), 1.1, 1.0, true),
            (Figure::rate("replay"), 0.9, 1.0, false),
        ] {
            let judged = gate.judge("dev", &figure, ratio).unwrap();
            assert_eq!((judged.passes, judged.limit), (passes, limit), "{figure:?} {ratio}");
        }
        assert_eq!(gate.judge("bench", &Figure::time("restore"), 1.0), None, "no ratio of this profile");
        assert_eq!(gate.judge("dev", &Figure::time("other"), 1.0), None);
    }

    #[test]
    fn what_is_kept_reads_back() {
        let mut gate = Gate::from_json(FILE).unwrap();
        gate.keep("bench", &Figure::time("restore"), 1.234_567);
        gate.keep("bench", &Figure::time("other"), 1.0);
        let again = Gate::from_json(&gate.to_json()).unwrap();
        assert_eq!(again, gate);
        assert_eq!(gate.names().collect::<Vec<_>>(), ["evict", "replay", "restore"]);
        assert_eq!(again.judge("bench", &Figure::time("restore"), 1.0).unwrap().kept, 1.23);
    }

    #[test]
    fn damage_is_told() {
        for text in ["", "{}", r#"{"tolerance":1}"#, r#"{"tolerance":1,"figures":{"x":{"dev":"1"}}}"#] {
            assert!(Gate::from_json(text).is_err(), "{text}");
        }
        let zero = r#"{"tolerance":1,"figures":{"x":{"dev":0}}}"#;
        assert_eq!(Gate::from_json(zero).unwrap_err().to_string(), "the gate's file is damaged: x");
    }
}
