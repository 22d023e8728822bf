//! Transactions of many Sets, which make batches that are written before their turn.

use std::sync::Arc;

use goku::{Client, Operation, SetRequest, Txn};
use goku_testkit::probe;
use tokio::sync::watch;
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
    over: watch::Sender<bool>,
}

impl LargeWrites {
    pub(crate) fn start(client: &Arc<dyn Client>) -> LargeWrites {
        let (over, is_over) = watch::channel(false);
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            callers.spawn(write(caller, client.clone(), is_over.clone()));
        }
        LargeWrites { callers, over }
    }

    /// Waits until what was begun has ended.
    pub(crate) async fn end(mut self) {
        self.over.send_replace(true);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

async fn write(caller: usize, client: Arc<dyn Client>, is_over: watch::Receiver<bool>) {
    for round in 0..TXNS_MAX {
        if *is_over.borrow() {
            return;
        }
        // How it ends is judged by the history.
        let _ = client.txn(txn(caller, round)).await;
    }
}

fn txn(caller: usize, round: usize) -> Txn {
    let set = |number| {
        let key = probe::key(format!("large/{caller}/{number}"));
        Operation::Set(SetRequest::new(key, format!("large {caller} {round} {number}")))
    };
    Txn {
        compare: Vec::new(),
        then: (0..SETS).map(set).collect(),
        otherwise: Vec::new(),
    }
}
