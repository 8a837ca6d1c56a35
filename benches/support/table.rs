//! What a comparison found: a table to read, and JSON in `benches/results` from which `benches/README.md` is made.

use serde::Serialize;

/// What a ratio, or a figure, has to be.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    AtLeast(f64),
    AtMost(f64),
    /// Ours may be so much more than theirs, in their unit.
    AtMostMore(f64),
    /// Told for its own sake.
    None,
}

/// A figure of ours beside one of another's.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The number of the goal in `benches/README.md`.
    pub goal_number: &'static str,
    /// What was done.
    pub work: String,
    /// What ours is measured against.
    pub against: String,
    /// Of both figures.
    pub unit: &'static str,
    pub ours: f64,
    /// None where the goal is a figure of ours.
    pub theirs: Option<f64>,
    pub goal: Goal,
}

impl Row {
    /// Ours divided by theirs; ours alone where there is nothing beside it.
    pub fn ratio(&self) -> f64 {
        self.theirs.map_or(self.ours, |theirs| self.ours / theirs)
    }

    /// Whether the goal was reached.
    pub fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtLeast(least) => self.ratio() >= least,
            Goal::AtMost(most) => self.ratio() <= most,
            Goal::AtMostMore(more) => self.ours - self.theirs.unwrap_or(0.0) <= more,
            Goal::None => true,
        }
    }
}

/// A curve for `benches/README.md`.
#[derive(Debug, Serialize)]
pub struct Series {
    /// Which plot it belongs to, and whose curve it is.
    pub plot: &'static str,
    pub name: &'static str,
    /// What the axes are, with units.
    pub x: &'static str,
    pub y: &'static str,
    pub points: Vec<(f64, f64)>,
}

/// All rows of one comparison.
#[derive(Debug, Serialize)]
pub struct Report {
    name: &'static str,
    command: String,
    machine: String,
    /// RFC 3339, UTC.
    date: String,
    rows: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    series: Vec<Series>,
}

impl Report {
    /// An empty one, of the benchmark with this name.
    pub fn new(name: &'static str) -> Self {
        let now = haggle::clock::Clock::System.now();
        let date = serde_json::to_value(now).expect("a date").as_str().expect("text").to_owned();
        let command = format!("cargo bench --bench {name}");
        Self { name, command, machine: super::describe(), date, rows: Vec::new(), series: Vec::new() }
    }

    /// Adds a row, and prints it.
    #[expect(clippy::print_stdout, reason = "the table is what a comparison prints")]
    pub fn row(&mut self, row: Row) {
        let theirs = row.theirs.map_or_else(|| "–".to_owned(), figure);
        let goal = match row.goal {
            Goal::AtLeast(least) => format!("≥ {least}"),
            Goal::AtMost(most) => format!("≤ {most}"),
            Goal::AtMostMore(more) => format!("≤ theirs + {more}"),
            Goal::None => "–".to_owned(),
        };
        let (ours, ratio, met) = (figure(row.ours), figure(row.ratio()), if row.is_met() { "met" } else { "MISSED" });
        println!(
            "{:>3}  {} | {} | {ours} {} | {theirs} | ratio {ratio} | goal {goal} | {met}",
            row.goal_number, row.work, row.against, row.unit
        );
        self.rows.push(row);
    }

    /// Adds a curve.
    pub fn series(&mut self, series: Series) {
        self.series.push(series);
    }

    /// Writes `benches/results/<name>.json`, unless the run was a short one (`HAGGLE_BENCH_SHORT`).
    pub fn finish(self) {
        if is_short() {
            return;
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results");
        std::fs::create_dir_all(folder).expect("a folder for results");
        let json = serde_json::to_string_pretty(&self).expect("JSON");
        std::fs::write(format!("{folder}/{}.json", self.name), json + "\n").expect("the results are written");
    }
}

/// Whether this run only shows that everything works (`HAGGLE_BENCH_SHORT=1`).
pub fn is_short() -> bool {
    std::env::var_os("HAGGLE_BENCH_SHORT").is_some()
}

/// Three digits.
fn figure(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
