//! The loop of a write: decide a batch, and load the rows that its decision still needs, until nothing is missing.

use super::WriteError;
use crate::decide::{Decide, Decision, Needs, State};
use crate::error::{Error, ErrorKind};
use crate::observe::{Phase, Stopwatch};

/// Loads after which a batch must have all that it needs: each may ask only for what the one before led to.
const LOADS_MAX: usize = 16;

/// A transaction that loads what a batch needs.
pub(super) trait Load {
    /// Adds what is needed to the state.
    async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), WriteError>;
}

/// Decides a batch on a state that has what it needs first, with more loads as they turn out to be needed.
///
/// # Errors
///
/// The errors of the loads. `Rejected` as `TooLarge` for a batch that still needs more after [`LOADS_MAX`] loads: alone each
/// of its requests needs fewer.
pub(super) async fn decide_until_complete(
    state: &mut State,
    decide: &mut Decide<'_>,
    transaction: &mut impl Load,
    watch: &mut Stopwatch,
) -> Result<Decision, WriteError> {
    for _ in 1..LOADS_MAX {
        let decided = decide(state);
        watch.lap(Phase::Decide);
        match decided {
            Ok(decision) => return Ok(decision),
            Err(needs) => transaction.load(&needs, state).await?,
        }
        watch.lap(Phase::Load);
    }
    let decided = decide(state);
    watch.lap(Phase::Decide);
    decided.map_err(|needs| {
        let message = format!("a batch needs more than {LOADS_MAX} loads, and still asks for {needs:?}");
        WriteError::Rejected(Error::new(ErrorKind::TooLarge, message))
    })
}

/// Writes a batch to a store, as the engine does.
#[cfg(test)]
pub(crate) async fn write(
    store: &impl super::Store,
    batch: impl std::borrow::Borrow<crate::decide::Batch>,
) -> Result<Decision, WriteError> {
    let batch = batch.borrow();
    let mut watch = Stopwatch::start(tokio::time::Instant::now());
    store
        .write(&batch.first_needs(), &mut |state| batch.decide(state), &mut watch)
        .await
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::clock::Timestamp;
    use crate::decide::Head;
    use crate::key::Key;

    /// The number of loads so far.
    struct Loads(usize);

    impl Load for Loads {
        async fn load(&mut self, needs: &Needs, state: &mut State) -> Result<(), WriteError> {
            self.0 += 1;
            state.rows.extend(needs.keys.keys().map(|key| (key.clone(), None)));
            Ok(())
        }
    }

    /// Runs the loop of a batch that needs one more key after each load, `needed` in all; returns the number of loads.
    fn loads_of(needed: usize) -> (usize, Result<Decision, WriteError>) {
        let mut state = State::new(Head::default(), Timestamp::MAX);
        let mut decide = |state: &State| {
            if state.rows.len() == needed {
                return Ok(Decision::nothing(&state.head));
            }
            let mut needs = Needs::default();
            needs.key(&Key::new(format!("k{}", state.rows.len())).unwrap(), false);
            Err(Box::new(needs))
        };
        let mut transaction = Loads(0);
        let mut watch = Stopwatch::start(tokio::time::Instant::now());
        let decided = decide_until_complete(&mut state, &mut decide, &mut transaction, &mut watch).now_or_never();
        (transaction.0, decided.unwrap())
    }

    #[test]
    fn what_a_decision_asks_for_is_loaded_until_it_has_all() {
        for needed in [0, 1, LOADS_MAX - 1] {
            let (loads, decided) = loads_of(needed);
            assert!(decided.is_ok());
            assert_eq!(loads, needed);
        }
    }

    #[test]
    fn a_batch_that_asks_on_and_on_is_rejected() {
        let (loads, decided) = loads_of(usize::MAX);
        assert!(matches!(decided, Err(WriteError::Rejected(error)) if error.kind() == ErrorKind::TooLarge));
        assert_eq!(loads, LOADS_MAX - 1);
    }
}
