//! Measuring: figures beside their floors, plots of them, and a load to measure a warehouse under.
//!
//! ```text
//!   ours ───┐                        ┌──► text for a terminal        [`Report`], [`bars`]
//!           ├─► [`pair`] ─► [`Row`] ─┼──► JSON for programs          [`Report`]
//!   floor ──┘                        └──► a page, a picture          [`Report`], [`Chart`]
//! ```
//!
//! Used by the benches and by `vats bench`, and by nothing else: it reads the clock and the machine's state, which the
//! crates that it measures must not. It prints nothing and writes no files; it answers text, and who asked knows where that
//! belongs. It draws no conclusions beyond whether a bound holds, and keeps no history.

#![forbid(unsafe_code)]

mod chart;
mod figure;
mod gate;
mod load;
mod machine;
mod page;
mod random;
mod report;
mod rounds;
mod samples;
mod svg;
mod table;

pub use chart::{Axis, AxisScale, Chart, Line, Series};
pub use figure::{Bound, Figure, Row, Unit};
pub use gate::{DamagedGate, Gate, Judged};
pub use load::{Load, LoadError, LoadPoint, Skew};
pub use machine::{Machine, load_average, private_bytes};
pub use page::svg_file;
pub use random::Random;
pub use report::Report;
pub use rounds::{Pace, alone, pair};
pub use samples::Samples;
pub use table::{amount, bars, ratio_text};
