//! A report as a page for a browser: one file that needs nothing else and loads nothing.

use std::fmt::Write as _;

use crate::chart::Chart;
use crate::figure::Row;
use crate::report::Report;
use crate::svg::{escaped, svg};
use crate::table::{amount, judged};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2.5rem}.m{opacity:.72}\
figure{margin:1.5rem 0}figcaption{opacity:.72;max-width:72ch}svg{width:100%;max-width:860px;height:auto}\
.w{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;white-space:nowrap}\
th,td{padding:.2rem .55rem;text-align:right;border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}\
td:first-child{font-family:ui-monospace,monospace;font-size:13px}\
.y{color:#1a7f37}.n{color:#cf222e;font-weight:600}\
@media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}.y{color:#3fb950}.n{color:#ff7b72}}";

impl Report {
    /// The page.
    pub fn html(&self) -> String {
        let title = escaped(&self.title);
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
             <style>{STYLE}</style></head>\n<body><h1>{title}</h1>\n"
        );
        for said in self.machine.lines().iter().chain(&self.notes) {
            let _ = writeln!(page, "<div class=\"m\">{}</div>", escaped(said));
        }
        self.charts.iter().for_each(|chart| add_chart(&mut page, chart));
        self.add_table(&mut page);
        page.push_str("</body></html>\n");
        page
    }

    fn add_table(&self, page: &mut String) {
        let (met, judged) = self.met();
        page.push_str("<h2>All figures</h2>\n");
        if judged > 0 {
            let _ = writeln!(page, "<p class=\"m\">{met} of {judged} bounds met.</p>");
        }
        let floors = if self.has_floors() { "<th>floor<th>ratio<th>bound<th>" } else { "" };
        let _ = write!(
            page,
            "<div class=\"w\"><table><thead><tr><th>figure<th>p50<th>p99{floors}<th>samples</tr></thead>\n<tbody>\n"
        );
        self.rows.iter().for_each(|row| add_row(page, row, self.has_floors()));
        page.push_str("</tbody></table></div>\n");
    }

    /// Whether anything stands beside the figures: else there are no columns for it.
    fn has_floors(&self) -> bool {
        self.rows.iter().any(|row| row.floor_p50.is_some())
    }
}

/// A chart as a file of its own; `None` if there is nothing to see.
pub fn svg_file(chart: &Chart) -> Option<String> {
    Some(format!("{}\n", svg(chart)?))
}

fn add_chart(page: &mut String, chart: &Chart) {
    if let Some(svg) = svg(chart) {
        let _ = writeln!(page, "<figure>{svg}<figcaption>{}</figcaption></figure>", escaped(&chart.note));
    }
}

fn add_row(page: &mut String, row: &Row, has_floors: bool) {
    let unit = row.figure.unit();
    let floor = if has_floors { floor_cells(row) } else { String::new() };
    let _ = writeln!(
        page,
        "<tr><td>{}<td>{}<td>{}{floor}<td>{}</tr>",
        escaped(row.figure.name()),
        amount(row.p50, unit),
        amount(row.p99, unit),
        row.samples,
    );
}

fn floor_cells(row: &Row) -> String {
    let [ratio, bound, verdict] = judged(row);
    let class = match row.ok() {
        Some(true) => " class=\"y\"",
        Some(false) => " class=\"n\"",
        None => "",
    };
    let floor = row.floor_p50.map_or("–".to_owned(), |floor| amount(floor, row.figure.unit()));
    format!("<td>{floor}<td>{ratio}<td>{bound}<td{class}>{verdict}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chart::{Axis, Series};
    use crate::figure::{Figure, Unit};
    use crate::machine::Machine;

    fn report() -> Report {
        Report {
            title: "Figures".into(),
            machine: Machine::now().with("page_cache", "warm"),
            notes: vec!["ratio = p50 / floor".into()],
            rows: vec![
                Row::of_value(Figure::time("restore/<x>").at_most(2.0), 6.0, Some(4.0)),
                Row::of_value(Figure::rate("commit").at_least(0.7), 1.0, Some(4.0)),
                Row::of_value(Figure::bytes("memory"), 2_048.0, None),
            ],
            charts: vec![Chart {
                name: "plot".into(),
                title: "A plot".into(),
                note: "What it says.".into(),
                x: Axis::linear("vats", Unit::Count),
                y: Axis::linear("memory", Unit::Bytes),
                series: vec![Series::solid("ours", [(1.0, 2.0)])],
            }],
        }
    }

    #[test]
    fn a_page_has_everything_and_loads_nothing() {
        let page = report().html();
        for part in [
            "restore/&lt;x&gt;",
            "6.00 µs",
            "MISSED",
            "1 of 2 bounds met",
            "page cache: warm",
            "What it says.",
        ] {
            assert!(page.contains(part), "no {part}");
        }
        for loading in ["<script", "<link", "<img", "url(", "@import", "src="] {
            assert!(!page.contains(loading), "{loading}");
        }
    }

    #[test]
    fn columns_without_anything_in_them_are_left_out() {
        let mut report = report();
        report.rows.drain(..2);
        let page = report.html();
        assert!(!page.contains("floor<th>") && !page.contains("bounds met"), "{page}");
    }

    #[test]
    fn programs_read_the_fields_by_name() {
        let json = report().figures_json();
        let keys: Vec<&str> = json[0].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["bound", "floor_p50", "name", "ok", "p50", "p99", "ratio", "samples", "unit"]);
        assert_eq!(
            (&json[0]["ok"], &json[1]["ok"], &json[2]["ok"]),
            (&true.into(), &false.into(), &().into())
        );
        assert_eq!(json[0]["ratio"], 1.5);
    }

    #[test]
    fn the_text_ends_with_the_verdict() {
        let text = report().text();
        assert!(text.contains("page cache: warm\nratio = p50 / floor\n\nfigure"), "{text}");
        assert!(text.ends_with("1 of 2 bounds met"), "{text}");
    }
}
