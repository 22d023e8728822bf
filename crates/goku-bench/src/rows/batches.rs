//! Many Sets in a transaction, beside one Set a call.

use goku_load::Workload;

use crate::Outcome;
use crate::goals::CALLERS;
use crate::lab::{self, Lab};
use crate::results::{Measure, Name, Row};
use crate::subject::Subject;

/// Sets in a transaction, and callers that make them.
pub(crate) const SETS: usize = 100;
pub(crate) const TXN_CALLERS: usize = 16;

/// Keys that one caller uses.
const KEYS_PER_CALLER: usize = 1_000;

pub(super) async fn measure(lab: &mut Lab) -> Outcome<()> {
    lab.begin(Row::Batches);
    let mut stores = Vec::new();
    for subject in Subject::GOKU {
        let goku = lab.serve(&lab.database(subject, "batches").await?).await?;
        stores.push((subject, goku.target()?, goku));
    }
    for _ in 0..lab.options.runs() {
        for (subject, target, _) in &mut stores {
            for (workload, callers, measure) in [
                (Workload::Set, CALLERS, Measure::UnaryRate),
                (Workload::Txn { sets: SETS }, TXN_CALLERS, Measure::TxnRate),
            ] {
                // The same keys for both: what costs more with more keys costs both more.
                let load = lab.load(workload, callers, CALLERS * KEYS_PER_CALLER);
                let measured = lab::run(target, &load).await?;
                lab.add(Row::Batches, Name::new(measure, *subject), measured.rate());
                lab.add_errors(Row::Batches, subject.name(), &measured);
            }
        }
    }
    Ok(())
}
