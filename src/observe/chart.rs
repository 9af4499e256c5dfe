//! Charts for the report: lines over time as SVG, with their texts in HTML, so that these keep their
//! size when the page is narrow.

use std::fmt::Write;

use super::text::{grouped, span};

/// Coordinates within the drawing; it is stretched to the page.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 160.0;

/// One line of a chart.
pub struct Series {
    /// What it shows.
    pub label: &'static str,
    /// Its CSS class: `a` or `b`.
    pub class: &'static str,
    /// Time in seconds and value; `None` is a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A time that is shaded or marked.
pub struct Band {
    /// From, seconds.
    pub from_s: f64,
    /// To, seconds.
    pub to_s: f64,
    /// Shown when pointed at.
    pub title: String,
    /// Its CSS class: `stop` or `attempt`.
    pub class: &'static str,
}

/// How values are written at the axis.
#[derive(Clone, Copy, Debug)]
pub enum Unit {
    /// Whole numbers.
    Count,
    /// Seconds.
    Seconds,
    /// Milliseconds.
    Millis,
    /// Per cent.
    Percent,
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Unit::Count => grouped(value.round().max(0.0) as u64),
            Unit::Seconds => span(value),
            Unit::Millis => span(value / 1e3),
            Unit::Percent => format!("{value:.0} %"),
        }
    }
}

/// A chart as HTML; nothing if there are no values.
pub fn chart(title: &str, unit: Unit, total_s: f64, series: &[Series], bands: &[Band]) -> String {
    let values = series
        .iter()
        .flat_map(|s| s.points.iter().filter_map(|p| p.1));
    let highest = values.fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        return String::new();
    }
    let top = round_up(highest);
    let total_s = total_s.max(f64::MIN_POSITIVE);
    let x = |t: f64| (t / total_s).clamp(0.0, 1.0) * WIDTH;
    let y = |v: f64| HEIGHT - (v / top).clamp(0.0, 1.0) * HEIGHT;
    // Writing to a String cannot fail, here and below.
    let mut svg = String::new();
    for band in bands {
        let width = (x(band.to_s) - x(band.from_s)).max(1.0);
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{:.1}\" y=\"0\" width=\"{width:.1}\" height=\"{HEIGHT}\"><title>{}</title></rect>",
            band.class,
            x(band.from_s),
            escape(&band.title)
        );
    }
    for part in [0.25, 0.5, 0.75] {
        let at = HEIGHT * part;
        let _ = write!(svg, "<path class=\"grid\" d=\"M0 {at}H{WIDTH}\"/>");
    }
    let mut legend = String::new();
    for line in series {
        let _ = write!(
            svg,
            "<path class=\"{}\" d=\"{}\"/>",
            line.class,
            path(line, &x, &y)
        );
        let _ = write!(
            legend,
            "<span class=\"key {}\">{}</span>",
            line.class,
            escape(line.label)
        );
    }
    format!(
        "<figure><figcaption><b>{}</b>{legend}<span class=\"top\">height: {}</span></figcaption>\
         <div class=\"plot\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{svg}</svg></div>\
         <div class=\"time\"><span>0</span><span>{}</span><span>{}</span></div></figure>\n",
        escape(title),
        unit.show(top),
        escape(title),
        span(total_s / 2.0),
        span(total_s)
    )
}

fn path(line: &Series, x: &impl Fn(f64) -> f64, y: &impl Fn(f64) -> f64) -> String {
    /// A point between gaps is drawn as a stroke, or it would not be seen.
    const LONE: f64 = 3.0;
    let mut path = String::new();
    let mut run = 0;
    for (t, value) in line.points.iter().copied().chain([(0.0, None)]) {
        match value {
            Some(value) => {
                let verb = if run > 0 { 'L' } else { 'M' };
                let _ = write!(path, "{verb}{:.1} {:.1}", x(t), y(value));
                run += 1;
            }
            None => {
                if run == 1 {
                    let _ = write!(path, "h{LONE}");
                }
                run = 0;
            }
        }
    }
    path
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 2.5, 5.0, 10.0];
    let fitting = steps.iter().find(|step| *step * power >= value);
    fitting.unwrap_or(&10.0) * power
}

/// Text within HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (1.1, 2.0),
            (23.0, 25.0),
            (260.0, 500.0),
            (0.03, 0.05),
        ] {
            assert!(
                (round_up(value) - top).abs() < 1e-9,
                "{value}: {}",
                round_up(value)
            );
        }
    }

    #[test]
    fn gaps_are_gaps() {
        let line = Series {
            label: "x",
            class: "a",
            points: vec![
                (0.0, Some(1.0)),
                (1.0, None),
                (2.0, Some(2.0)),
                (3.0, Some(1.0)),
            ],
        };
        assert_eq!(path(&line, &|t| t, &|v| v), "M0.0 1.0h3M2.0 2.0L3.0 1.0");
        let html = chart("a < b", Unit::Count, 3.0, &[line], &[]);
        assert!(html.contains("a &lt; b") && html.contains(">3.0 s<"));
        let empty = Series {
            label: "x",
            class: "a",
            points: vec![(0.0, None)],
        };
        assert_eq!(chart("t", Unit::Count, 3.0, &[empty], &[]), "");
    }
}
