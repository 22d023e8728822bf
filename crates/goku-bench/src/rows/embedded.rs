//! Set and Get of a store in the process of its callers.

use std::sync::Arc;

use goku_load::{Load, Partial, Target, Workload};

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Lab};
use crate::raw_group_commit::RawGroupCommit;
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Keys that one caller uses.
const KEYS_PER_CALLER: usize = 1_000;

/// Keys that are got, at random.
const KEYS_TO_GET: usize = 10_000;

/// A store, with what is set and what is got; nothing is got of some.
struct Store {
    subject: Subject,
    sets: Target,
    gets: Option<Target>,
}

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Embedded);
    let mut stores = Vec::new();
    for subject in [Subject::Sqlite, Subject::Mariadb, Subject::RawGroupCommit] {
        stores.push(open(lab, subject).await?);
    }
    let set = lab.load(Workload::Set, CALLERS, CALLERS * KEYS_PER_CALLER);
    let get = lab.load(Workload::Get, CALLERS, KEYS_TO_GET);
    for _ in 0..lab.options.runs() {
        for Store { subject, sets, gets } in &mut stores {
            measure_one(lab, *subject, sets, &set, Measure::EmbeddedSetRate).await?;
            if let Some(gets) = gets {
                measure_one(lab, *subject, gets, &get, Measure::EmbeddedGetRate).await?;
            }
        }
    }
    Ok(())
}

async fn open(lab: &Lab, subject: Subject) -> Outcome<Store> {
    if subject == Subject::RawGroupCommit {
        let url = lab.database(subject, "group_commit").await?;
        let client = Arc::new(Partial(RawGroupCommit::open(&url).await?));
        return Ok(Store {
            subject,
            sets: lab::target(vec![client], lab::PREFIX)?,
            gets: None,
        });
    }
    let engine = Arc::new(lab::embed(&lab.database(subject, "embedded").await?).await?);
    Ok(Store {
        subject,
        sets: lab::target(vec![engine.clone()], lab::PREFIX)?,
        gets: Some(lab::target(vec![engine], "/get/")?),
    })
}

async fn measure_one(
    lab: &mut Lab,
    subject: Subject,
    target: &mut Target,
    load: &Load,
    measure: Measure,
) -> Outcome<()> {
    let measured = lab::run(target, load).await?;
    lab.add(Row::Embedded, Name::of(measure, subject, CALLERS), measured.rate());
    lab.add_errors(Row::Embedded, subject.name(), &measured);
    Ok(())
}
