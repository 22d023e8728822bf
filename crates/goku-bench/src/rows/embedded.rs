//! Set and Get of a store in the process of its callers.

use std::sync::Arc;

use goku_load::{Target, Workload};

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Keys that one caller uses.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys that are got, at random.
const KEYS_TO_GET: usize = 10_000;

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Embedded);
    let mut stores: Vec<(Subject, Target, Target)> = Vec::new();
    for subject in Subject::GOKU {
        let engine = Arc::new(lab::embed(&lab.database(subject, "embedded").await?).await?);
        let sets = lab::target(vec![engine.clone()], lab::PREFIX)?;
        stores.push((subject, sets, lab::target(vec![engine], "/get/")?));
    }
    for _ in 0..lab.options.runs() {
        for (subject, sets, gets) in &mut stores {
            let set = lab.load(Workload::Set, CALLERS, CALLERS * KEYS_PER_CALLER);
            let get = lab.load(Workload::Get, CALLERS, KEYS_TO_GET);
            for (target, load, measure) in [
                (sets, set, Measure::EmbeddedSetRate),
                (gets, get, Measure::EmbeddedGetRate),
            ] {
                let measured = lab::run(target, &load).await?;
                lab.add(Row::Embedded, Name::of(measure, *subject, CALLERS), measured.rate());
                lab.add_errors(Row::Embedded, subject.name(), &measured);
            }
        }
    }
    Ok(())
}
