//! What is shown of the grid: two dimensions at a time, the others held where a host is likely to be.

use vat_measure::{Axis, Chart, Series, Unit};

use super::{HEAPS, Place, Point, SKEWS, VATS};
use crate::vat::HeapSize;

/// Where dimensions are held that a picture does not show.
const USUAL: Place = Place { vats: 1_000, heap: HeapSize::MIB, resident_percent: 10, skew: 1.0 };

/// All pictures.
pub(super) fn of(points: &[Point]) -> Vec<Chart> {
    vec![by_skew(points), by_heap(points), by_vats(points), waiting(points), waiting_by_heap(points)]
}

fn by_skew(points: &[Point]) -> Chart {
    let series = SKEWS.map(|skew| {
        let name = if skew == 0.0 { "all equally often".to_owned() } else { format!("Zipf, s = {skew}") };
        residencies(points, name, Place { skew, ..USUAL })
    });
    throughput("throughput-by-skew", "Messages/s against residency: 1,000 vats of 1 MiB", series.into())
}

fn by_heap(points: &[Point]) -> Chart {
    let series = HEAPS.map(|heap| residencies(points, heap.to_string(), Place { heap, ..USUAL }));
    throughput("throughput-by-heap", "Messages/s against residency: 1,000 vats, Zipf, s = 1", series.into())
}

fn by_vats(points: &[Point]) -> Chart {
    let series = VATS.map(|vats| residencies(points, format!("{vats} vats"), Place { vats, ..USUAL }));
    throughput(
        "throughput-by-vats",
        "Messages/s against residency: vats of 1 MiB, Zipf, s = 1",
        series.into(),
    )
}

fn waiting(points: &[Point]) -> Chart {
    let of = |name: &str, which: usize| {
        let found = VATS.iter().filter_map(|vats| {
            let point = find(points, Place { vats: *vats, ..USUAL })?;
            Some((as_float(*vats), point.page_in_us?[which]))
        });
        Series::solid(name, found)
    };
    page_ins(
        "page-in-by-vats",
        "Waiting for a page-in against vats: 1 MiB, 10 % in memory, Zipf, s = 1",
        Axis::logarithmic("vats", Unit::Count),
        vec![of("p50", 0), of("p99", 1), of("p99.9", 2)],
    )
}

fn waiting_by_heap(points: &[Point]) -> Chart {
    let of = |name: &str, which: usize| {
        let found = HEAPS.iter().filter_map(|heap| {
            let point = find(points, Place { heap: *heap, ..USUAL })?;
            Some((f64::from(heap.0) * f64::from(1 << 20), point.page_in_us?[which]))
        });
        Series::solid(name, found)
    };
    page_ins(
        "page-in-by-heap",
        "Waiting for a page-in against heap size: 1,000 vats, 10 % in memory, Zipf, s = 1",
        Axis::logarithmic("heap", Unit::Bytes),
        vec![of("p50", 0), of("p99", 1), of("p99.9", 2)],
    )
}

/// The points that differ from a place in residency alone.
fn residencies(points: &[Point], name: String, place: Place) -> Series {
    let mut found: Vec<(f64, f64)> = points
        .iter()
        .filter(|point| Place { resident_percent: place.resident_percent, ..point.place } == place)
        .map(|point| (as_float(point.place.resident_percent), point.messages_per_s))
        .collect();
    found.sort_by(|a, b| f64::total_cmp(&a.0, &b.0));
    Series::solid(name, found)
}

fn find(points: &[Point], place: Place) -> Option<&Point> {
    points.iter().find(|point| point.place == place)
}

fn throughput(name: &str, title: &str, series: Vec<Series>) -> Chart {
    Chart {
        name: name.to_owned(),
        title: title.to_owned(),
        note: "One thread; each message writes four pages; 100 messages to a commit.".to_owned(),
        x: Axis::logarithmic("vats in memory", Unit::Percent),
        y: Axis::logarithmic("messages/s", Unit::PerSecond),
        series,
    }
}

fn page_ins(name: &str, title: &str, x: Axis, series: Vec<Series>) -> Chart {
    Chart {
        name: name.to_owned(),
        title: title.to_owned(),
        note: "From asking for a vat that is not in memory to having it, evicting another included."
            .to_owned(),
        x,
        y: Axis::logarithmic("time", Unit::Microseconds),
        series,
    }
}

#[expect(clippy::cast_precision_loss, reason = "thousands of vats")]
fn as_float(number: usize) -> f64 {
    number as f64
}
