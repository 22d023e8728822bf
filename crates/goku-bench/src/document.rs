//! The document of the figures, and the same goals as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use goku_load::figure::grouped;

use crate::Outcome;
use crate::goal::{Bound, Goal, Unit};
use crate::goals;
use crate::kept::Kept;
use crate::plot;
use crate::results::{Measure, Name, Results, Row};
use crate::rows;
use crate::setting::Setting;
use crate::subject::Subject;
use crate::table::millis;

/// What the program writes stands between these; everything else of the document is people's.
const BEGIN: &str = "<!-- What follows is written by `cargo xtask bench`. -->";
const END: &str = "<!-- The end of what `cargo xtask bench` writes. -->";

/// A document that has nothing yet.
pub(crate) const EMPTY: &str = concat!(
    "# Benchmarks\n\n",
    "<!-- What follows is written by `cargo xtask bench`. -->\n",
    "<!-- The end of what `cargo xtask bench` writes. -->\n"
);

/// The document with these results in place of those that it had.
pub(crate) fn with_results(document: &str, results: &Results) -> Outcome<String> {
    let (head, rest) = document
        .split_once(BEGIN)
        .ok_or("the document has no place for figures")?;
    let (_, tail) = rest
        .split_once(END)
        .ok_or("the place for figures in the document has no end")?;
    let mut text = format!("{head}{BEGIN}\n\n");
    settings(&mut text, results);
    goals_as_table(&mut text, results);
    calls(&mut text, results);
    embedded(&mut text, results);
    consume(&mut text, results);
    notes(&mut text, results);
    text += END;
    text += tail;
    Ok(text)
}

/// A line for each goal.
pub(crate) fn goals_as_text(goals: &[Goal]) -> String {
    let width = goals.iter().map(|goal| goal.what.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for goal in goals {
        let verdict = verdict(goal);
        let measured = measured(goal);
        let bound = bound(goal);
        // Writing to a string does not fail.
        let _ = writeln!(text, "{:<width$}  {verdict:<12}  {measured}; goal: {bound}", goal.what);
    }
    let met = goals.iter().filter(|goal| goal.is_met() == Some(true)).count();
    let missed = goals.iter().filter(|goal| goal.is_met() == Some(false)).count();
    let _ = writeln!(
        text,
        "\n{met} met, {missed} missed, {} not measured",
        goals.len() - met - missed
    );
    text
}

/// What the rows were measured on: mostly one setting for all.
fn settings(text: &mut String, results: &Results) {
    let mut settings: BTreeMap<&Setting, Vec<String>> = BTreeMap::new();
    for (row, setting) in results.rows() {
        settings
            .entry(setting)
            .or_default()
            .push(format!("{row:?}").to_lowercase());
    }
    *text += "## What it was measured on\n\n";
    for (setting, rows) in settings {
        *text += &format!("- {} ({}).\n", setting.text(), rows.join(", "));
    }
    *text += "\n";
}

fn goals_as_table(text: &mut String, results: &Results) {
    let goals = goals::goals(results);
    *text += "## Goals\n\n| what | goal | measured | |\n|---|---|---|---|\n";
    for goal in &goals {
        let verdict = match goal.is_met() {
            Some(false) => "**missed**",
            _ => verdict(goal),
        };
        *text += &format!("| {} | {} | {} | {verdict} |\n", goal.what, bound(goal), measured(goal));
    }
    *text += "\n";
}

fn calls(text: &mut String, results: &Results) {
    *text += "## Calls over gRPC by number of callers\n";
    for plot in plot::plots(results) {
        *text += &format!("\n![{}](benchmarks/{})\n", plot.title, plot.file);
    }
    let tables = [
        (
            "Set (etcd: put), calls a second",
            Measure::SetRate,
            grouped as fn(f64) -> String,
        ),
        ("Set, median in ms", Measure::SetP50, millis),
        ("Set, p99 in ms", Measure::SetP99, millis),
        (
            "Get (etcd: linearizable get), calls a second",
            Measure::GetRate,
            grouped,
        ),
        ("Get, median in ms", Measure::GetP50, millis),
        ("Get, p99 in ms", Measure::GetP99, millis),
        ("An empty call, calls a second", Measure::EmptyRate, grouped),
        ("An empty call, p99 in ms", Measure::EmptyP99, millis),
    ];
    for (title, measure, show) in tables {
        by_callers(text, results, Row::Calls, title, measure, show);
    }
    *text += "\n";
}

fn by_callers(text: &mut String, results: &Results, row: Row, title: &str, measure: Measure, show: fn(f64) -> String) {
    let callers = results.callers(row, measure);
    if callers.is_empty() {
        return;
    }
    let heads: Vec<_> = callers.iter().map(|callers| grouped(*callers as f64)).collect();
    *text += &format!(
        "\n| {title} | {} |\n|---|{}\n",
        heads.join(" | "),
        "---|".repeat(callers.len())
    );
    for subject in Subject::ALL {
        let figures = callers.iter();
        let figures = figures.map(|callers| results.median(row, Name::of(measure, subject, *callers)));
        let figures: Vec<_> = figures.collect();
        if figures.iter().any(Option::is_some) {
            let figures: Vec<_> = figures
                .into_iter()
                .map(|figure| figure.map_or_else(String::new, show))
                .collect();
            *text += &format!("| {} | {} |\n", subject.name(), figures.join(" | "));
        }
    }
}

fn embedded(text: &mut String, results: &Results) {
    if results.callers(Row::Embedded, Measure::EmbeddedSetRate).is_empty() {
        return;
    }
    *text += "## In the process of the callers\n\nGroup commit alone is the least that puts rows and events into MariaDB in \
              order: no conditions, leases or outcomes.\n";
    for (title, measure) in [
        ("Set, calls a second by callers", Measure::EmbeddedSetRate),
        ("Get, calls a second by callers", Measure::EmbeddedGetRate),
    ] {
        by_callers(text, results, Row::Embedded, title, measure, grouped);
    }
    *text += "\n";
}

fn consume(text: &mut String, results: &Results) {
    if results.rows().all(|(row, _)| row != Row::Consume) {
        return;
    }
    *text += &format!(
        "## Events through a consumer\n\nOver gRPC, on a log of {} events, by where the cursor is; handlers with effects \
         write a row for each key. The way is timed until the handler was given the event, at {} Sets a second: from when its \
         Set was sent, and from when that was answered; median and p99. The commit lies between the two.\n",
        grouped(rows::EVENTS as f64),
        rows::SETS_PER_SECOND
    );
    let heads = Subject::GOKU.map(Subject::name).join(" | ");
    *text += &format!("\n| events a second, cursor | {heads} |\n|---|---|---|\n");
    for kept in Kept::ALL {
        let rates = Subject::GOKU.map(|subject| {
            let rate = results.median(Row::Consume, Name::new(Measure::ConsumeRate(kept), subject));
            rate.map_or_else(String::new, grouped)
        });
        *text += &format!("| {} | {} |\n", kept.name(), rates.join(" | "));
    }
    type Quantile = fn(Kept) -> Measure;
    let beginnings: [(&str, Quantile, Quantile); 2] = [
        ("sent", Measure::ConsumeP50, Measure::ConsumeP99),
        ("answered", Measure::ConsumeAnsweredP50, Measure::ConsumeAnsweredP99),
    ];
    for (beginning, median, p99) in beginnings {
        let ways = |kept| {
            Subject::GOKU.map(|subject| {
                let figure = |measure: Quantile| results.median(Row::Consume, Name::new(measure(kept), subject));
                let (median, p99) = (figure(median)?, figure(p99)?);
                Some(format!("{} / {}", signed_millis(median), signed_millis(p99)))
            })
        };
        let rows = Kept::ALL.map(|kept| (kept, ways(kept))).into_iter();
        let mut rows = rows.filter(|(_, ways)| ways.iter().any(Option::is_some)).peekable();
        if rows.peek().is_some() {
            *text += &format!("\n| from the Set {beginning} to the handler in ms, cursor | {heads} |\n|---|---|---|\n");
        }
        for (kept, ways) in rows {
            *text += &format!(
                "| {} | {} |\n",
                kept.name(),
                ways.map(Option::unwrap_or_default).join(" | ")
            );
        }
    }
    *text += "\n";
}

fn notes(text: &mut String, results: &Results) {
    let rows = results.rows();
    let notes: Vec<String> = rows
        .flat_map(|(row, setting)| {
            let scope = scope(row, setting);
            let notes = results
                .notes(row)
                .iter()
                .map(move |note| format!("- {row:?}: {note}\n"));
            scope.into_iter().chain(notes)
        })
        .collect();
    if !notes.is_empty() {
        *text += &format!("## Notes\n\n{}\n", notes.concat());
    }
}

/// Microseconds as milliseconds, of what may be less than 0.
fn signed_millis(micros: f64) -> String {
    let sign = if micros < 0.0 { "−" } else { "" };
    format!("{sign}{}", millis(micros.abs()))
}

/// How large what was read is, where the goal names a size.
fn scope(row: Row, setting: &Setting) -> Option<String> {
    match row {
        Row::Replay | Row::List => Some(format!(
            "- {row:?}: of {} keys, each set once.\n",
            grouped(setting.keys as f64)
        )),
        _ => None,
    }
}

fn verdict(goal: &Goal) -> &'static str {
    match goal.is_met() {
        Some(true) => "met",
        Some(false) => "missed",
        None => "not measured",
    }
}

fn bound(goal: &Goal) -> String {
    match goal.bound {
        Bound::AtLeast(bound) => format!("at least {}", written(bound, goal.unit)),
        Bound::AtMost(bound) => format!("at most {}", written(bound, goal.unit)),
    }
}

fn measured(goal: &Goal) -> String {
    let Some(measured) = goal.measured else {
        return String::new();
    };
    let text = written(measured, goal.unit);
    match goal.from[..] {
        [(figure, unit), (to, to_unit)] => {
            format!("{text} ({} / {})", written(figure, unit), written(to, to_unit))
        }
        [(sets, unit)] => format!("{text} (at {})", written(sets, unit)),
        _ => text,
    }
}

fn written(figure: f64, unit: Unit) -> String {
    match unit {
        Unit::Times => format!("{figure:.2}×"),
        Unit::PerSecond => format!("{}/s", grouped(figure)),
        Unit::Millis => format!("{} ms", millis(figure)),
        Unit::Seconds => format!("{:.2} s", figure / 1e6),
        Unit::Mib => format!("{:.1} MiB", figure / (1024.0 * 1024.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let mut results = Results::default();
        let setting = Setting {
            date: "2026-01-31".to_owned(),
            ..Setting::default()
        };
        results.begin(Row::Calls, setting);
        for (subject, rate) in [(Subject::Mariadb, 12_345.0), (Subject::Etcd, 20_000.0)] {
            results.add(Row::Calls, Name::of(Measure::SetRate, subject, 64), rate);
        }
        results.note(Row::Calls, "something failed".to_owned());
        results
    }

    #[test]
    fn figures_take_their_place_and_leave_the_rest() {
        let document = format!("# Title\nbefore\n{BEGIN}\nold\n{END}\nafter\n");
        let once = with_results(&document, &results()).unwrap();
        assert!(
            once.starts_with("# Title\nbefore\n") && once.ends_with("\nafter\n"),
            "{once}"
        );
        assert!(!once.contains("old"), "{once}");
        for expected in [
            "2026-01-31",
            "| goku on MariaDB | 12,345 |",
            "at least 1.00× | 0.62× (12,345/s / 20,000/s) | **missed** |",
            "something failed",
        ] {
            assert!(once.contains(expected), "{expected} is missing in:\n{once}");
        }
        assert_eq!(with_results(&once, &results()).unwrap(), once);
    }

    #[test]
    fn ways_to_the_handler_are_told_from_both_their_beginnings() {
        let mut results = results();
        results.begin(Row::Consume, Setting::default());
        for (measure, figure) in [
            (Measure::ConsumeP50(Kept::Goku), 1_234.0),
            (Measure::ConsumeP99(Kept::Goku), 2_345.0),
            (Measure::ConsumeAnsweredP50(Kept::Goku), -40.0),
            (Measure::ConsumeAnsweredP99(Kept::Goku), 560.0),
        ] {
            results.add(Row::Consume, Name::new(measure, Subject::Sqlite), figure);
        }
        let text = with_results(EMPTY, &results).unwrap();
        for expected in ["| in goku | 1.23 / 2.35 |  |", "| in goku | −0.04 / 0.56 |  |"] {
            assert!(text.contains(expected), "{expected} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_document_without_a_place_is_left_alone() {
        assert!(with_results("# Title\n", &results()).is_err());
        assert!(with_results(EMPTY, &results()).is_ok());
    }

    #[test]
    fn the_text_counts_what_is_met() {
        let text = goals_as_text(&goals::goals(&results()));
        assert!(text.contains("0 met, 1 missed"), "{text}");
        assert!(text.contains("missed        0.62×"), "{text}");
    }
}
