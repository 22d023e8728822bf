//! The suite: all rows of the table of goals in one run, and the document that tells of them.

use std::fs;
use std::path::Path;

use crate::Outcome;
use crate::document;
use crate::goals;
use crate::lab::Lab;
use crate::options::TableOptions;
use crate::plot;
use crate::results::{Results, Row};
use crate::rows;

/// Where the document is, what it is written from, and its plots, in the folder of the documents.
const DOCUMENT: &str = "benchmarks.md";
const PLOTS: &str = "benchmarks";
const RESULTS: &str = "benchmarks/results.json";

/// Measures the rows that the options name, prints how the goals are met, and writes the document.
pub(crate) async fn run(options: TableOptions) -> Outcome<()> {
    let folder = options.document();
    let known = match &folder {
        Some(folder) => read(&folder.join(RESULTS))?,
        None => Results::default(),
    };
    let rows = options.rows();
    let mut lab = Lab::set_up(options, known).await?;
    let shares_stores = rows.contains(&Row::Replay) && rows.contains(&Row::List);
    for row in &rows {
        match row {
            Row::List if shares_stores => {}
            Row::Replay if shares_stores => rows::measure_log(&mut lab).await?,
            row => rows::measure(&mut lab, *row).await?,
        }
        // What was measured is not lost where a later row fails.
        if let Some(folder) = &folder {
            write(folder, &lab.results)?;
        }
    }
    let goals: Vec<_> = goals::goals(&lab.results)
        .into_iter()
        .filter(|goal| rows.contains(&goal.row))
        .collect();
    print!("{}", document::goals_as_text(&goals));
    for row in rows {
        for note in lab.results.notes(row) {
            println!("{row:?}: {note}");
        }
    }
    Ok(())
}

/// Results of earlier runs; none where there is no file.
fn read(file: &Path) -> Outcome<Results> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Results::default()),
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// Writes the document with its plots anew; what people wrote into it stays.
fn write(folder: &Path, results: &Results) -> Outcome<()> {
    let plots = folder.join(PLOTS);
    fs::create_dir_all(&plots)?;
    let json = serde_json::to_string_pretty(results)?;
    fs::write(folder.join(RESULTS), json + "\n")?;
    for plot in plot::plots(results) {
        fs::write(plots.join(plot.file), plot.svg()?)?;
    }
    let file = folder.join(DOCUMENT);
    let before = match fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => document::EMPTY.to_owned(),
        text => text?,
    };
    fs::write(file, document::with_results(&before, results)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::{Measure, Name};
    use crate::setting::Setting;
    use crate::subject::Subject;

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(&folder.path().join(RESULTS)).unwrap(), Results::default());
        let mut results = Results::default();
        results.begin(Row::Calls, Setting::default());
        for callers in [1, 64] {
            let name = Name::of(Measure::SetRate, Subject::Etcd, callers);
            results.add(Row::Calls, name, 10.0);
        }
        write(folder.path(), &results).unwrap();
        assert_eq!(read(&folder.path().join(RESULTS)).unwrap(), results);
        let document = fs::read_to_string(folder.path().join(DOCUMENT)).unwrap();
        assert!(document.contains("etcd"), "{document}");
        assert!(folder.path().join(PLOTS).join("set-rate.svg").exists());
    }
}
