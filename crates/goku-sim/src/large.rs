//! Transactions of many Sets, which make batches that are written before their turn.

use std::sync::Arc;

use goku::{Client, Operation, SetRequest, Txn};
use goku_testkit::probe;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Callers, each with keys of its own.
const CALLERS: usize = 3;

/// Sets in one transaction.
const SETS: usize = 110;

/// Transactions of one caller at most.
const TXNS_MAX: usize = 40;

/// Callers that write until they are told to end.
pub(crate) struct LargeWrites {
    callers: JoinSet<()>,
    _stop: Vec<oneshot::Sender<()>>,
}

impl LargeWrites {
    pub(crate) fn start(client: Arc<dyn Client>) -> LargeWrites {
        let mut callers = JoinSet::new();
        let mut stops = Vec::new();
        for caller in 0..CALLERS {
            let (stop, mut stopped) = oneshot::channel();
            stops.push(stop);
            let client = client.clone();
            callers.spawn(async move {
                for round in 0..TXNS_MAX {
                    if stopped.try_recv() != Err(oneshot::error::TryRecvError::Empty) {
                        return;
                    }
                    // How it ends is judged by the history.
                    let _ = client.txn(txn(caller, round)).await;
                }
            });
        }
        LargeWrites { callers, _stop: stops }
    }

    /// Waits until what was begun has ended.
    pub(crate) async fn end(self) {
        drop(self._stop);
        let mut callers = self.callers;
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    }
}

fn txn(caller: usize, round: usize) -> Txn {
    let set = |number| {
        let key = probe::key(format!("large/{caller}/{}", number % SETS));
        Operation::Set(SetRequest::new(key, format!("large {caller} {round} {number}")))
    };
    Txn {
        compare: Vec::new(),
        then: (0..SETS).map(set).collect(),
        otherwise: Vec::new(),
    }
}
