//! Makes `benches/README.md` and its plots from what the comparisons have found (`benches/results`).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use plotters::prelude::*;
use serde_json::Value;

/// Between these lines of the README is what this program writes.
const MARKS: (&str, &str) = ("<!-- results -->", "<!-- end of results -->");
/// The size of a plot, pixels.
const SIZE: (u32, u32) = (760, 420);

/// A plot: what its axes are, and curves by name.
#[derive(Default)]
struct Plot {
    x: String,
    y: String,
    curves: BTreeMap<String, Vec<(f64, f64)>>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/benches"));
    let mut written = String::new();
    let mut plots: BTreeMap<String, Plot> = BTreeMap::new();
    for report in reports(&folder.join("results"))? {
        write!(written, "{}", section(&report)?)?;
        for series in report["series"].as_array().into_iter().flatten() {
            let plot = plots.entry(text(&series["plot"]).to_owned()).or_default();
            (plot.x, plot.y) = (text(&series["x"]).to_owned(), text(&series["y"]).to_owned());
            plot.curves.insert(text(&series["name"]).to_owned(), serde_json::from_value(series["points"].clone())?);
        }
    }
    std::fs::create_dir_all(folder.join("plots"))?;
    for (name, plot) in &plots {
        let file = format!("{}.svg", name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-"));
        draw(&folder.join("plots").join(&file), name, plot)?;
        writeln!(written, "![{name}](plots/{file})\n")?;
    }
    let readme = folder.join("README.md");
    let old = std::fs::read_to_string(&readme)?;
    let (before, rest) = old.split_once(MARKS.0).ok_or("the README has no results")?;
    let (_, after) = rest.split_once(MARKS.1).ok_or("the README's results do not end")?;
    std::fs::write(readme, format!("{before}{}\n\n{}\n{}{after}", MARKS.0, written.trim_end(), MARKS.1))?;
    Ok(())
}

/// What the comparisons wrote, by the goals' numbers.
fn reports(folder: &Path) -> Result<Vec<Value>, Box<dyn Error>> {
    let files = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let files: Vec<PathBuf> = files.collect::<Result<_, _>>()?;
    let mut reports = Vec::new();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "json")) {
        reports.push(serde_json::from_slice::<Value>(&std::fs::read(file)?)?);
    }
    reports.sort_by_key(|report| {
        let goal = text(&report["rows"][0]["goal_number"]).trim_end_matches(char::is_alphabetic);
        (goal.parse::<u32>().unwrap_or(u32::MAX), text(&report["name"]).to_owned())
    });
    Ok(reports)
}

/// One comparison as a table.
fn section(report: &Value) -> Result<String, Box<dyn Error>> {
    let mut section = format!("### {}\n\n", text(&report["name"]));
    let day = text(&report["date"]).split('T').next().unwrap_or_default();
    writeln!(section, "`{}` on {}, {day}\n", text(&report["command"]), text(&report["machine"]))?;
    section
        .push_str("| goal | work | ours | against | theirs | ratio | wanted | |\n|---|---|---|---|---|---|---|---|\n");
    for row in report["rows"].as_array().into_iter().flatten() {
        let unit = text(&row["unit"]);
        let ours = row["ours"].as_f64().unwrap_or_default();
        let theirs = row["theirs"].as_f64();
        let ratio = theirs.map_or(ours, |theirs| ours / theirs);
        let (wanted, met) = wanted(&row["goal"], ratio, ours - theirs.unwrap_or_default(), unit);
        writeln!(
            section,
            "| {} | {} | {} {unit} | {} | {} | {} | {wanted} | {met} |",
            text(&row["goal_number"]),
            text(&row["work"]),
            figure(ours),
            text(&row["against"]),
            theirs.map_or_else(String::new, |theirs| format!("{} {unit}", figure(theirs))),
            theirs.map_or_else(String::new, |_| figure(ratio)),
        )?;
    }
    section.push('\n');
    Ok(section)
}

/// A goal in words, and whether it is reached.
fn wanted(goal: &Value, ratio: f64, more: f64, unit: &str) -> (String, &'static str) {
    let said = |met: bool| if met { "✓" } else { "**missed**" };
    match (goal["at_least"].as_f64(), goal["at_most"].as_f64(), goal["at_most_more"].as_f64()) {
        (Some(least), ..) => (format!("≥ {least}"), said(ratio >= least)),
        (_, Some(most), _) => (format!("≤ {most}"), said(ratio <= most)),
        (.., Some(most)) => (format!("≤ theirs + {most} {unit}"), said(more <= most)),
        _ => (String::new(), ""),
    }
}

/// Curves over an axis of powers of ten, from 0 up.
fn draw(file: &Path, name: &str, plot: &Plot) -> Result<(), Box<dyn Error>> {
    let points = || plot.curves.values().flatten();
    let (least, most) = points().fold((f64::MAX, 1.0_f64), |(least, most), (x, _)| (least.min(*x), most.max(*x)));
    let highest = points().fold(0.0_f64, |highest, (_, y)| highest.max(*y)) * 1.15;
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(name, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(64)
        .build_cartesian_2d((least..most).log_scale(), 0.0..highest)?;
    chart.configure_mesh().x_desc(&plot.x).y_desc(&plot.y).disable_x_mesh().draw()?;
    for (index, (name, points)) in plot.curves.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        let curve = chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?;
        curve.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().border_style(BLACK.mix(0.3)).background_style(WHITE.mix(0.8)).draw()?;
    area.present()?;
    Ok(())
}

/// Three digits.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => thousands(value),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or("")).collect();
    groups.join(",")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
