//! A store whose writes fail as they are told to, with what that leaves.

use std::collections::VecDeque;
use std::sync::Mutex;

use goku::{
    Client, ConsumerName, Cursor, CursorMove, CursorsRequest, Engine, Entry, Error, ErrorKind, EventStream, History,
    HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeasesRequest, ListRequest, Listing, Result,
    Status, StreamRequest, Write, WriteAnswer, WriteId,
};

/// How a write fails.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    Before(ErrorKind),
    After(ErrorKind),
}

pub(crate) struct Faulty {
    pub(crate) engine: Engine,
    /// The next writes' and reads'; those after them are done well.
    faults: Mutex<VecDeque<Fault>>,
    /// What every call fails with.
    down: Mutex<Option<ErrorKind>>,
    calls: Mutex<usize>,
    /// The numbers of the writes, but for those that begin sessions.
    numbers: Mutex<Vec<WriteId>>,
}

impl Faulty {
    pub(crate) fn over(engine: Engine) -> Faulty {
        Faulty {
            engine,
            faults: Mutex::default(),
            down: Mutex::default(),
            calls: Mutex::default(),
            numbers: Mutex::default(),
        }
    }

    pub(crate) fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    pub(crate) fn be_down(&self, kind: ErrorKind) {
        *self.down.lock().unwrap() = Some(kind);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    /// The numbers that writes came with.
    pub(crate) fn numbers(&self) -> Vec<WriteId> {
        self.numbers.lock().unwrap().clone()
    }

    fn check(&self) -> Result<()> {
        *self.calls.lock().unwrap() += 1;
        let down = *self.down.lock().unwrap();
        down.map_or(Ok(()), |kind| Err(failure(kind)))
    }

    async fn go<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.check()?;
        let fault = self.faults.lock().unwrap().pop_front();
        match fault {
            None => work.await,
            Some(Fault::Before(kind)) => Err(failure(kind)),
            Some(Fault::After(kind)) => {
                work.await?;
                Err(failure(kind))
            }
        }
    }
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "as it was told to")
}

#[tonic::async_trait]
impl Client for Faulty {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.go(self.engine.get(key)).await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        self.go(self.engine.list(request)).await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        if let Some(id) = id {
            if id.number == 1 {
                self.check()?;
                return self.engine.write(Some(id), write).await;
            }
            self.numbers.lock().unwrap().push(id);
        }
        self.go(self.engine.write(id, write)).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.go(self.engine.get_lease(id)).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.go(self.engine.list_leases(request)).await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.go(self.engine.lease_keys(request)).await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        self.go(self.engine.history(request)).await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        self.check()?;
        self.engine.stream(request).await
    }

    async fn status(&self) -> Result<Status> {
        self.go(self.engine.status()).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.go(self.engine.move_cursors(moves)).await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.go(self.engine.list_cursors(request)).await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.go(self.engine.delete_cursors(consumer)).await
    }
}
