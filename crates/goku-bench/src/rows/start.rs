//! How soon a server listens, and the size of its program.

use std::time::Instant;

use crate::Outcome;
use crate::lab::{self, Lab};
use crate::process::Process;
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Names of files, one for each run of the most that there are.
const FILES: [&str; 9] = [
    "start1", "start2", "start3", "start4", "start5", "start6", "start7", "start8", "start9",
];

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Start);
    let program = lab.options.program.clone();
    let program = program.ok_or("the program goku is missing: --program names it")?;
    let bytes = lab::file_bytes(&program)?;
    lab.add(
        Row::Start,
        Name::new(Measure::ProgramSize, Subject::Sqlite),
        bytes as f64,
    );
    // Short as it is, it is done more often than the others.
    for file in FILES {
        let url = lab.database(Subject::Sqlite, file).await?;
        for measure in [Measure::StartNew, Measure::StartAgain] {
            let begun = Instant::now();
            let mut process = Process::start(&program, &["serve", "--listen", "127.0.0.1:0", "--store", &url])?;
            // It says so once clients can connect.
            process.first_line().await?;
            let time = begun.elapsed();
            process.stop().await?;
            lab.add(Row::Start, Name::new(measure, Subject::Sqlite), lab::micros(time));
        }
    }
    Ok(())
}
