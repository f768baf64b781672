//! Draws the plot: for each row with a goal, how many times better than its peer Portcullis is, on a logarithmic scale.
//!
//! The SVG is written without a library: it has only lines, dots and text, and text must remain text. Colours follow
//! the reader's light or dark colour scheme.

use std::fmt::Write as _;

use super::number::figures;
use crate::result_row::Row;

const LABELS: f64 = 700.0;
const SCALE: f64 = 420.0;
const NUMBERS: f64 = 70.0;
const LINE: f64 = 22.0;
const HEAD: f64 = 64.0;

const STYLE: &str = "
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .quiet { fill: #59636e }
  .grid { stroke: #d1d9e0 }
  .even { stroke: #59636e; stroke-width: 1.5 }
  .met { fill: #1a7f37; stroke: #1a7f37 }
  .missed { fill: #cf222e; stroke: #cf222e }
  .goal { fill: none; stroke: #1f2328; stroke-width: 2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .quiet { fill: #9198a1 }
    .grid { stroke: #3d444d }
    .even { stroke: #9198a1 }
    .met { fill: #3fb950; stroke: #3fb950 }
    .missed { fill: #f85149; stroke: #f85149 }
    .goal { stroke: #f0f6fc }
  }
";

/// The exponents of ten at both ends of the axis; a value outside is drawn at the edge.
struct LogScale {
    first: f64,
    last: f64,
}

impl LogScale {
    fn from_rows(rows: &[&Row]) -> Self {
        let ends = |row: &&Row| {
            let (least, most) = row.advantage_range();
            let wanted = row.goal_advantage().unwrap_or(1.0);
            (least.min(wanted), most.max(wanted))
        };
        let (mut least, mut most) = (1.0_f64, 10.0_f64);
        for (low, high) in rows.iter().map(ends) {
            (least, most) = (least.min(low), most.max(high));
        }
        Self { first: least.log10().floor(), last: most.log10().ceil() }
    }

    fn x(&self, advantage: f64) -> f64 {
        let share = (advantage.log10() - self.first) / (self.last - self.first);
        LABELS + SCALE * share.clamp(0.0, 1.0)
    }
}

/// The SVG document with a line for each row that has a goal.
pub(super) fn draw(rows: &[Row]) -> String {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.goal.is_some()).collect();
    let scale = LogScale::from_rows(&rows);
    let (width, height) = (LABELS + SCALE + NUMBERS, HEAD + LINE * to_f64(rows.len()) + 10.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" role=\"img\">\n\
         <title>How many times better Portcullis is than its peer</title>\n<style>{STYLE}</style>\n"
    );
    grid(&mut svg, &scale, height);
    for (index, row) in rows.iter().enumerate() {
        let y = HEAD + LINE * (to_f64(index) + 0.5);
        row_marks(&mut svg, &scale, row, y);
    }
    svg + "</svg>\n"
}

fn grid(svg: &mut String, scale: &LogScale, height: f64) {
    let legend = "times better than the peer: dot is the median, line the spread, ring the goal";
    text(svg, LABELS + SCALE + NUMBERS - 4.0, 18.0, "end", "quiet", legend);
    let mut exponent = scale.first;
    while exponent <= scale.last {
        let advantage = 10_f64.powf(exponent);
        let (x, class) = (scale.x(advantage), if exponent == 0.0 { "even" } else { "grid" });
        writeln!(svg, "<path class=\"{class}\" d=\"M{x:.1} {:.1}V{height:.1}\"/>", HEAD - 12.0).unwrap();
        let label = if exponent == 0.0 { "as good".to_owned() } else { format!("{advantage} ×") };
        text(svg, x, HEAD - 20.0, "middle", "quiet", &label);
        exponent += 1.0;
    }
}

fn row_marks(svg: &mut String, scale: &LogScale, row: &Row, y: f64) {
    let class = if row.is_met() == Some(true) { "met" } else { "missed" };
    text(svg, LABELS - 12.0, y + 4.5, "end", "", &format!("{} / {}", row.name, row.peer));
    let (least, most) = row.advantage_range();
    let (from, to, x) = (scale.x(least), scale.x(most), scale.x(row.advantage()));
    writeln!(svg, "<path class=\"{class}\" stroke-width=\"3\" opacity=\".5\" d=\"M{from:.1} {y:.1}H{to:.1}\"/>")
        .unwrap();
    writeln!(svg, "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>").unwrap();
    if let Some(wanted) = row.goal_advantage() {
        writeln!(svg, "<circle class=\"goal\" cx=\"{:.1}\" cy=\"{y:.1}\" r=\"6.5\"/>", scale.x(wanted)).unwrap();
    }
    let number = format!("{} ×", figures(row.advantage()));
    text(svg, LABELS + SCALE + NUMBERS - 4.0, y + 4.5, "end", class_of_text(row), &number);
}

fn class_of_text(row: &Row) -> &'static str {
    if row.is_met() == Some(true) { "" } else { "missed" }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, class: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{words}</text>").unwrap();
}

fn to_f64(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}
