//! What a check found, as text and as JSON.

use std::fmt::Write;

use goku::check::{Finding, Section, Severity};
use serde::Serialize;
use serde_json::json;

/// A line each under the name of its section, in columns.
pub(super) fn text(findings: &[Finding], is_coloured: bool) -> String {
    let width = findings
        .iter()
        .map(|finding| finding.subject.name.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (section, title) in [
        (Section::Database, "Database"),
        (Section::Store, "Store"),
        (Section::Server, "Server"),
    ] {
        let mut of_section = findings
            .iter()
            .filter(|finding| finding.subject.section == section)
            .peekable();
        if of_section.peek().is_none() {
            continue;
        }
        let gap = if text.is_empty() { "" } else { "\n" };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{gap}{title}");
        for finding in of_section {
            let _ = writeln!(text, "{}", line(finding, width, is_coloured));
        }
    }
    text
}

fn line(finding: &Finding, width: usize, is_coloured: bool) -> String {
    let (begin, end) = match (is_coloured, finding.severity) {
        (false, _) => ("", ""),
        (true, Severity::Ok) => ("\x1b[32m", "\x1b[0m"),
        (true, Severity::Warning) => ("\x1b[33m", "\x1b[0m"),
        (true, Severity::Error) => ("\x1b[31m", "\x1b[0m"),
    };
    let advice = finding.advice.as_ref().map(|advice| format!("  → {advice}"));
    let line = format!(
        "{begin}{:<5}{end}  {:<width$}  {}{}",
        finding.severity.name(),
        finding.subject.name,
        finding.message,
        advice.unwrap_or_default()
    );
    // What a server says of itself may have several lines, or control the terminal.
    let shown = line.chars().map(|character| match character {
        '\x1b' if is_coloured => character,
        character if character.is_control() => ' ',
        character => character,
    });
    shown.collect()
}

/// One finding.
pub(super) fn json(finding: &Finding) -> impl Serialize {
    json!({
        "severity": finding.severity.name(),
        "section": finding.subject.section.name(),
        "name": finding.subject.name,
        "message": finding.message,
        "advice": finding.advice,
    })
}

#[cfg(test)]
mod tests {
    use goku::check::Subject;

    use super::*;

    #[test]
    fn findings_stand_under_their_sections_in_columns() {
        let findings = [
            Subject::server("disk").ok("enough"),
            Subject::database("version").ok("new"),
            Subject::database("clock").error("off\nby far", "set it"),
        ];
        assert_eq!(
            text(&findings, false),
            "Database\nok     version  new\nerror  clock    off by far  → set it\n\nServer\nok     disk     enough\n"
        );
        assert!(text(&findings, true).contains("\x1b[31merror\x1b[0m  clock"));
        assert_eq!(text(&[], true), "");
    }
}
