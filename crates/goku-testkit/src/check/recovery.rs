//! After the last fault was healed, everything works again.

use goku::ErrorKind;

use super::{Invariant, Report};
use crate::history::{History, Request};

pub(super) fn check(history: &History, report: &mut Report) {
    let healed = || history.calls.iter().filter(|call| call.healed);
    for call in healed() {
        let is_failure =
            |kind: ErrorKind| kind.is_transient() || matches!(kind, ErrorKind::Config | ErrorKind::Internal);
        match &call.returned {
            None => report.add(Invariant::Recovery, format!("{:?} was never answered", call.request)),
            Some((_, Err(kind))) if is_failure(*kind) => {
                report.add(
                    Invariant::Recovery,
                    format!("{:?} failed: {}", call.request, kind.name()),
                );
            }
            Some(_) => {}
        }
    }
    let wrote = healed().any(|call| matches!(call.request, Request::Set(_)) && call.success().is_some());
    if !wrote && healed().next().is_some() {
        report.add(Invariant::Recovery, "nothing was written after the last fault");
    }
}
