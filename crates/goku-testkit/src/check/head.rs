//! The head is the highest event, and counts what there is.

use goku::{EventId, Revision, Tag};

use super::{Invariant, Report};
use crate::history::History;

/// The status is read after the log: leases may have ended between the two, so that events may be more and keys fewer.
pub(super) fn check(history: &History, report: &mut Report) {
    let (log, status) = (&history.last.log, &history.last.status);
    let last = log.last();
    let (id, tag, rev) = last.map_or((EventId::ZERO, Tag::default(), Revision::default()), |event| {
        (event.id, event.tag, event.rev)
    });
    let position = status.head.position;
    let mut must = |holds: bool, what: String| {
        if !holds {
            report.add(Invariant::Head, what);
        }
    };
    must(
        position.id >= id,
        format!("the head is {}, and the log goes to {id}", position.id),
    );
    must(
        status.events == position.id.get().unsigned_abs(),
        format!("{} events, and the head is {}", status.events, position.id),
    );
    if position.id == id {
        must(
            position.tag == tag,
            "the head has another tag than its event".to_owned(),
        );
        must(
            status.rev == rev,
            format!("the last revision is {}, that of the last event {rev}", status.rev),
        );
        let keys = history.last.entries.len() as u64;
        must(
            history.last.listed_at.position.id != id || status.keys == keys,
            format!("{} keys are counted, and {keys} are there", status.keys),
        );
    }
}
