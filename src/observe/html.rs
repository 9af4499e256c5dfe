//! The report as one HTML page that needs nothing else: readable wide, narrow, and on paper.

use std::fmt::Write;

use super::chart::{Band, Series, Unit, chart, escape};
use super::recorder::Point;
use super::report::Report;
use super::text::{bytes, grouped, span, utc};

/// Points of a line; more would only make it thick.
const LINE_POINTS: usize = 300;
/// Rows of a table.
const ROWS_MAX: usize = 60;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--dim:#5b6570;--paper:#fff;--edge:#d5dae0;--fill:#f4f6f8;\
--a:#1f5fbf;--b:#b45309;--stop:rgba(200,40,40,.18);--try:#7c3aed}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--dim:#9aa4ae;--paper:#15181c;--edge:#343b43;\
--fill:#1e2329;--a:#6ea8fe;--b:#f0a35e;--stop:rgba(255,90,90,.25);--try:#b794f4}}\
@media print{:root{color-scheme:light;--ink:#000;--dim:#444;--paper:#fff;--edge:#bbb;--fill:#f4f4f4;\
--a:#1f5fbf;--b:#b45309;--stop:rgba(200,40,40,.18);--try:#7c3aed}\
figure,tr,.facts{break-inside:avoid}body{max-width:none;font-size:12px}\
.charts{grid-template-columns:1fr 1fr!important}}\
*{box-sizing:border-box;print-color-adjust:exact;-webkit-print-color-adjust:exact}\
body{font:16px/1.45 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;\
max-width:1200px;padding:1rem}\
h1{font-size:1.4rem;margin:.2rem 0;overflow-wrap:anywhere}h2{font-size:1.1rem;margin:1.6rem 0 .5rem}\
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--fill);padding:.6rem;margin:.5rem 0;\
border:1px solid var(--edge);border-radius:4px}\
.dim{color:var(--dim)}.ending{font-weight:700}\
.facts{display:grid;grid-template-columns:repeat(4,1fr);gap:.5rem;margin:1rem 0}\
@media(max-width:700px){.facts{grid-template-columns:repeat(2,1fr)}}\
.facts div{background:var(--fill);border:1px solid var(--edge);border-radius:4px;padding:.5rem}\
.facts b{display:block;font-size:1.15rem}\
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:1.2rem}\
figure{margin:0;min-width:0}figcaption{display:flex;flex-wrap:wrap;gap:0 .9rem;margin-bottom:.2rem}\
.key::before{content:'';display:inline-block;width:1.1em;border-top:3px solid var(--a);\
vertical-align:middle;margin-right:.35em}.key.b::before{border-top:3px dashed var(--b)}\
.plot{border:1px solid var(--edge);border-width:0 0 1px 1px}\
.plot svg{display:block;width:100%;height:150px}\
.top{margin-left:auto;font-size:.8rem;color:var(--dim);align-self:end}\
path{fill:none;vector-effect:non-scaling-stroke}path.a{stroke:var(--a);stroke-width:1.8}\
path.b{stroke:var(--b);stroke-width:1.8;stroke-dasharray:5 3}path.grid{stroke:var(--edge);stroke-width:1}\
rect.stop{fill:var(--stop)}rect.attempt{fill:var(--try)}\
.time{display:flex;justify-content:space-between;font-size:.8rem;color:var(--dim)}\
.phases{display:flex;height:1.4rem;border:1px solid var(--edge);border-radius:4px;overflow:hidden}\
.phases i{min-width:2px;background:var(--a);opacity:.85;border-right:1px solid var(--paper)}\
.phases i:nth-child(even){background:var(--b)}\
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--edge);vertical-align:top}\
td.n,th.n{text-align:right;white-space:nowrap;width:1%;padding-right:1.5rem}td{overflow-wrap:anywhere}";

/// The page.
pub fn page(report: &Report) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{} – {}</title><style>{STYLE}</style></head><body>\n",
        escape(&report.table),
        escape(report.ending_words())
    );
    head(&mut out, report);
    facts(&mut out, report);
    phases(&mut out, report);
    charts(&mut out, report);
    throttle(&mut out, report);
    attempts(&mut out, report);
    // Writing to a String cannot fail, here and below.
    let _ = write!(
        out,
        "<section><h2>For the ticket</h2><pre>{}</pre></section>\n</body></html>\n",
        escape(&report.summary())
    );
    out
}

fn head(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<header><h1>{} on {}</h1><p><span class=\"ending\">{}</span> \
         <span class=\"dim\">started {} UTC, took {}, changeling {}</span></p><pre>ALTER TABLE {} {}</pre>",
        escape(&report.table),
        escape(&report.server),
        escape(report.ending_words()),
        utc(report.started_unix_s),
        span(report.elapsed_s),
        report.version,
        escape(&report.table),
        escape(&report.alter)
    );
    if let Some(error) = &report.error {
        let _ = write!(out, "<p><b>Error:</b> {}</p>", escape(error));
    }
    if let Some(remedy) = &report.remedy {
        let _ = write!(out, "<p><b>Hint:</b> {}</p>", escape(remedy));
    }
    if !report.notes.is_empty() {
        out.push_str("<ul>");
        for note in &report.notes {
            let _ = write!(out, "<li>{}</li>", escape(note));
        }
        out.push_str("</ul>");
    }
    out.push_str("</header>\n");
}

fn facts(out: &mut String, report: &Report) {
    let copy_s: f64 = report
        .phases
        .iter()
        .filter(|phase| phase.phase == "copy")
        .map(|phase| phase.seconds)
        .sum();
    let rate = if copy_s > 0.0 {
        format!(
            "{} rows/s",
            grouped((report.rows_copied as f64 / copy_s) as u64)
        )
    } else {
        "–".to_string()
    };
    let stopped = report.throttle.as_ref().map_or(0.0, |t| t.stopped_s);
    let verified = match report.verification {
        None => "not compared".to_string(),
        Some(v) if v.differences == 0 => format!("equal ({} rows)", grouped(v.rows)),
        Some(v) => format!("{} rows differ", grouped(v.differences)),
    };
    let longest = report
        .cutover
        .list
        .iter()
        .map(|a| a.stall_ms)
        .fold(0.0, f64::max);
    out.push_str("<section class=\"facts\">");
    for (label, value) in [
        ("rows copied", grouped(report.rows_copied)),
        ("copy speed", rate),
        ("changes applied", grouped(report.changes_applied)),
        ("comparison", verified),
        ("copy stopped for", span(stopped)),
        ("longest stall at the cut-over", span(longest / 1e3)),
        ("binlog read", bytes(report.binlog_bytes)),
        ("statements tried again", grouped(report.retries)),
    ] {
        let _ = write!(
            out,
            "<div><span class=\"dim\">{label}</span><b>{}</b></div>",
            escape(&value)
        );
    }
    out.push_str("</section>\n");
}

fn phases(out: &mut String, report: &Report) {
    out.push_str("<section><h2>Phases</h2><div class=\"phases\">");
    for phase in &report.phases {
        let _ = write!(
            out,
            "<i style=\"flex:{:.3} 1 0\" title=\"{} {}\"></i>",
            phase.seconds.max(0.001),
            escape(&phase.phase),
            span(phase.seconds)
        );
    }
    out.push_str("</div><p class=\"dim\">");
    let list: Vec<String> = report
        .phases
        .iter()
        .map(|phase| format!("{} {}", escape(&phase.phase), span(phase.seconds)))
        .collect();
    out.push_str(&list.join(" → "));
    out.push_str("</p></section>\n");
}

fn charts(out: &mut String, report: &Report) {
    let series = &report.series;
    let total_s = series.last().map_or(0.0, |point| point.t_s);
    if series.len() < 3 || total_s <= 0.0 {
        return;
    }
    let bands = bands(report);
    out.push_str(
        "<section><h2>Course</h2><p class=\"dim\">Shaded: the copy was stopped. \
         Upright lines: attempts to cut over.</p><div class=\"charts\">\n",
    );
    let line = |label, class, points| Series {
        label,
        class,
        points,
    };
    let mut add = |title: &str, unit, lines: &[Series]| {
        out.push_str(&chart(title, unit, total_s, lines, &bands));
    };
    add(
        "Rows a second",
        Unit::Count,
        &[
            line("copied", "a", rates(series, |p| p.rows_copied)),
            line("compared", "b", rates(series, |p| p.rows_verified)),
        ],
    );
    add(
        "Changes a second",
        Unit::Count,
        &[
            line("received", "a", rates(series, |p| p.changes_received)),
            line("applied", "b", rates(series, |p| p.changes_applied)),
        ],
    );
    add(
        "Lag",
        Unit::Seconds,
        &[
            line("of replay", "a", worst(series, |p| p.replay_lag_s)),
            line(
                "of the worst replica",
                "b",
                worst(series, |p| p.replica_lag_s),
            ),
        ],
    );
    add(
        "Rows waiting for replay",
        Unit::Count,
        &[line(
            "rows",
            "a",
            worst(series, |p| Some(p.backlog_rows as f64)),
        )],
    );
    add(
        "Duration of a chunk",
        Unit::Millis,
        &[line(
            "longest",
            "a",
            worst(series, |p| copying(p).then_some(p.chunk_ms)),
        )],
    );
    add(
        "Rows a chunk",
        Unit::Count,
        &[line(
            "rows",
            "a",
            worst(series, |p| copying(p).then_some(p.chunk_rows as f64)),
        )],
    );
    add(
        "Speed allowed",
        Unit::Percent,
        &[line(
            "share of full speed",
            "a",
            worst(series, |p| copying(p).then_some(p.speed * 100.0)),
        )],
    );
    out.push_str("</div></section>\n");
}

fn copying(point: &Point) -> bool {
    point.phase == "copy" && point.chunk_rows > 0
}

/// When the copy was stopped, and the attempts to cut over.
fn bands(report: &Report) -> Vec<Band> {
    let mut bands: Vec<Band> = Vec::new();
    let mut last_t = 0.0;
    for point in &report.series {
        if let Some(source) = point.stopped.filter(|_| point.phase != "scan") {
            match bands.last_mut() {
                Some(band) if band.title == source && band.to_s == last_t => band.to_s = point.t_s,
                _ => bands.push(Band {
                    from_s: last_t,
                    to_s: point.t_s,
                    title: source.to_string(),
                    class: "stop",
                }),
            }
        }
        last_t = point.t_s;
    }
    bands.extend(report.cutover.list.iter().map(|attempt| Band {
        from_s: attempt.t_s,
        to_s: attempt.t_s,
        title: format!("{} ({:.0} ms)", attempt.outcome, attempt.stall_ms),
        class: "attempt",
    }));
    bands
}

/// Groups points, so that a line has at most [`LINE_POINTS`].
fn groups(series: &[Point]) -> impl Iterator<Item = &[Point]> {
    series.chunks(series.len().div_ceil(LINE_POINTS).max(1))
}

/// The growth of a counter per second, from group to group.
fn rates(series: &[Point], counter: impl Fn(&Point) -> u64) -> Vec<(f64, Option<f64>)> {
    let mut last: Option<(f64, u64)> = None;
    let mut line = Vec::new();
    // Rates from looks that lie close together only show the looks: a fiftieth of the run at least,
    // or a second.
    let total_s = series.last().map_or(0.0, |point| point.t_s);
    let gap_s = (total_s / 200.0).max(1.0);
    for point in series {
        let now = (point.t_s, counter(point));
        match last {
            None => last = Some(now),
            Some((t, count)) if now.0 - t >= gap_s => {
                line.push((
                    now.0,
                    Some(now.1.saturating_sub(count) as f64 / (now.0 - t)),
                ));
                last = Some(now);
            }
            Some(_) => {}
        }
    }
    // A line of nothing but zeros is left out.
    if line.iter().all(|(_, rate)| *rate == Some(0.0)) {
        line.clear();
    }
    line
}

/// The highest value of each group.
fn worst(series: &[Point], value: impl Fn(&Point) -> Option<f64>) -> Vec<(f64, Option<f64>)> {
    groups(series)
        .map(|group| {
            let highest = group.iter().filter_map(&value).reduce(f64::max);
            (group.last().map_or(0.0, |point| point.t_s), highest)
        })
        .collect()
}

fn throttle(out: &mut String, report: &Report) {
    let _ = write!(
        out,
        "<section><h2>Throttle</h2><p>{}</p>",
        escape(&report.throttle_words())
    );
    if let Some(throttle) = report.throttle.as_ref().filter(|t| !t.stops.is_empty()) {
        out.push_str(
            "<div class=\"scroll\"><table><tr><th class=\"n\">at</th><th class=\"n\">for</th>\
             <th>reason</th></tr>",
        );
        let skipped = throttle.stops.len().saturating_sub(ROWS_MAX);
        // They are recorded as they end.
        let mut stops: Vec<_> = throttle.stops[skipped..].iter().collect();
        stops.sort_by(|a, b| a.began_s.total_cmp(&b.began_s));
        for stop in stops {
            let _ = write!(
                out,
                "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
                span(stop.began_s),
                span(stop.lasted_s),
                escape(&stop.reason)
            );
        }
        out.push_str("</table></div>");
        let before = skipped as u64 + throttle.stops_forgotten;
        if before > 0 {
            let _ = write!(
                out,
                "<p class=\"dim\">and {} before these</p>",
                grouped(before)
            );
        }
    }
    out.push_str("</section>\n");
}

fn attempts(out: &mut String, report: &Report) {
    if report.cutover.count == 0 {
        return;
    }
    out.push_str(
        "<section><h2>Cut-over</h2><div class=\"scroll\"><table><tr><th class=\"n\">at</th>\
         <th class=\"n\">stall</th><th>outcome</th></tr>",
    );
    let skipped = report.cutover.list.len().saturating_sub(ROWS_MAX);
    for attempt in &report.cutover.list[skipped..] {
        let _ = write!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            span(attempt.t_s),
            span(attempt.stall_ms / 1e3),
            escape(&attempt.outcome)
        );
    }
    out.push_str("</table></div></section>\n");
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::report;
    use super::*;

    #[test]
    fn the_page_needs_nothing_else() {
        let mut report = report();
        report.alter = "ADD c VARCHAR(9) DEFAULT '<script>alert(1)</script>'".to_string();
        let page = page(&report);
        assert!(!page.contains("<script>alert"), "text is escaped");
        for outside in ["src=", "href=", "url(", "@import", "http://", "https://"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for part in [
            "Rows a second",
            "Lag",
            "class=\"stop\"",
            "class=\"attempt\"",
            "Phases",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert_eq!(
            page.matches("<section").count(),
            page.matches("</section>").count()
        );
        assert_eq!(page.matches("<div").count(), page.matches("</div>").count());
    }

    #[test]
    fn stops_become_bands() {
        let report = report();
        let bands = bands(&report);
        let stops: Vec<_> = bands.iter().filter(|band| band.class == "stop").collect();
        assert_eq!(stops.len(), 1);
        assert_eq!((stops[0].from_s, stops[0].to_s), (99.0, 139.0));
        assert_eq!(bands.len(), 3);
    }

    #[test]
    fn rates_are_per_second() {
        let report = report();
        let line = rates(&report.series, |p| p.rows_copied);
        assert!(line.len() <= LINE_POINTS);
        assert!(
            line.iter()
                .all(|(_, rate)| (rate.unwrap() - 100.0).abs() < 1e-6)
        );
        assert!(rates(&report.series, |_| 0).is_empty());
    }
}
