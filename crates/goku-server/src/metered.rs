//! A client that counts and times what goes through it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use async_trait::async_trait;
use futures::StreamExt;
use goku::gate::{Around, Entered};
use goku::{
    Admin, Client, ConfigureRequest, ConsumerName, Cursor, CursorMove, CursorsRequest, Entry, EventId, EventStream,
    History, HistoryRequest, Key, Lease, LeaseId, LeaseKeys, LeaseKeysRequest, LeaseRequest, LeasesRequest,
    ListRequest, Listing, Result, Setting, SettingChange, SettingChanges, SettingChangesRequest, SettingName,
    SettingsPage, SettingsRequest, Status, StreamItem, StreamRequest, Write, WriteAnswer, WriteId, observe,
};
use goku::{TokenHash, TokenUses};
use metrics::{Counter, Gauge, Histogram, Recorder, Unit};

use crate::slow_log::{Call, KeyStart, SlowLog};

const REQUESTS: &str = "goku_requests_total";
const SECONDS: &str = "goku_request_duration_seconds";
const IN_FLIGHT: &str = "goku_requests_in_flight";
const STREAMS: &str = "goku_streams_open";
const EVENTS: &str = "goku_events_delivered_total";

/// Hands every call on, and tells a recorder how many there were, how they ended and how long they took, and a slow log of
/// those that took long. Lists and streams take until they are open.
///
/// It wraps a [`Client`] or an [`Admin`] of one caller; the meter is that of a door, for all who come by it.
struct Metered<C> {
    client: C,
    meter: Arc<Meter>,
}

/// The counts of one door: one way by which clients come.
struct Meter {
    door: &'static str,
    recorder: Arc<dyn Recorder + Send + Sync>,
    slow: SlowLog,
    in_flight: Gauge,
    streams: Gauge,
    events: Counter,
    /// What most calls need, by their methods.
    answered: [OnceLock<Outcome>; METHODS],
}

/// How the calls of a method ended that ended alike.
#[derive(Clone)]
struct Outcome {
    count: Counter,
    seconds: Histogram,
}

#[derive(Clone, Copy)]
enum Method {
    Get,
    GetAt,
    List,
    Set,
    Delete,
    Txn,
    GrantLease,
    UpdateLease,
    KeepAliveLease,
    ExpireLease,
    GetLease,
    ListLeases,
    LeaseKeys,
    History,
    Stream,
    Status,
    MoveCursors,
    ListCursors,
    DeleteCursors,
    GetSetting,
    ListSettings,
    Configure,
    SettingChanges,
    TokenUses,
}

const METHODS: usize = Method::TokenUses as usize + 1;

/// Puts what counts their calls in `recorder`, and tells `slow` of those that take long, around what the callers get that
/// come by `door`.
pub fn metering(door: &'static str, recorder: Arc<dyn Recorder + Send + Sync>, slow: SlowLog) -> Around {
    let meter = Arc::new(Meter::new(door, recorder, slow));
    Arc::new(move |entered| {
        let metered = Metered {
            client: entered.client,
            meter: meter.clone(),
        };
        Entered {
            client: Arc::new(metered),
            admin: entered.admin.map(|admin| -> Arc<dyn Admin> {
                Arc::new(Metered {
                    client: admin,
                    meter: meter.clone(),
                })
            }),
        }
    })
}

impl Meter {
    fn new(door: &'static str, recorder: Arc<dyn Recorder + Send + Sync>, slow: SlowLog) -> Meter {
        let (in_flight, streams, events) = metrics::with_local_recorder(&*recorder, || {
            metrics::describe_counter!(REQUESTS, "Calls by door, method and outcome.");
            metrics::describe_histogram!(
                SECONDS,
                Unit::Seconds,
                "Time from call to answer by door, method and outcome."
            );
            metrics::describe_gauge!(IN_FLIGHT, "Calls that are not answered yet, by door.");
            metrics::describe_gauge!(STREAMS, "Streams that are open.");
            metrics::describe_counter!(EVENTS, "Events delivered to streams.");
            (
                metrics::gauge!(IN_FLIGHT, "door" => door),
                metrics::gauge!(STREAMS),
                metrics::counter!(EVENTS),
            )
        });
        Meter {
            door,
            recorder,
            slow,
            in_flight,
            streams,
            events,
            answered: [const { OnceLock::new() }; METHODS],
        }
    }

    async fn count<T>(&self, method: Method, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.count_key(method, None, call).await
    }

    async fn count_key<T>(
        &self,
        method: Method,
        key: Option<KeyStart>,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let call = async { (call.await, None) };
        self.count_batch(method, key, call).await
    }

    async fn count_batch<T>(
        &self,
        method: Method,
        key: Option<KeyStart>,
        call: impl Future<Output = (Result<T>, Option<observe::BatchTimes>)>,
    ) -> Result<T> {
        let started = Instant::now();
        let in_flight = Up::new(&self.in_flight);
        let (answer, batch) = call.await;
        drop(in_flight);
        let took = started.elapsed();
        let failure = answer.as_ref().err().map(goku::Error::kind);
        let note = |outcome: &Outcome| {
            outcome.count.increment(1);
            outcome.seconds.record(took);
        };
        match failure {
            None => note(self.answered[method as usize].get_or_init(|| self.outcome(method, "ok"))),
            Some(failure) => note(&self.outcome(method, failure.name())),
        }
        self.slow.call(&Call {
            door: self.door,
            method: method.name(),
            took,
            failure,
            key: key.as_ref(),
            batch,
        });
        answer
    }

    fn outcome(&self, method: Method, outcome: &'static str) -> Outcome {
        let (door, method) = (self.door, method.name());
        metrics::with_local_recorder(&*self.recorder, || Outcome {
            count: metrics::counter!(REQUESTS, "door" => door, "method" => method, "outcome" => outcome),
            seconds: metrics::histogram!(SECONDS, "door" => door, "method" => method, "outcome" => outcome),
        })
    }

    /// What the slow log may show of a key.
    fn key(&self, key: &[u8]) -> Option<KeyStart> {
        self.slow.has_calls().then(|| KeyStart::of(key))
    }
}

impl Method {
    fn of(write: &Write) -> Method {
        match write {
            Write::Set(_) => Method::Set,
            Write::Delete(_) => Method::Delete,
            Write::Txn(_) => Method::Txn,
            Write::Lease(LeaseRequest::Grant(_) | LeaseRequest::GrantAs(..)) => Method::GrantLease,
            Write::Lease(LeaseRequest::Update(..)) => Method::UpdateLease,
            Write::Lease(LeaseRequest::KeepAlive(_)) => Method::KeepAliveLease,
            Write::Lease(LeaseRequest::Expire(_)) => Method::ExpireLease,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Method::Get => "get",
            Method::GetAt => "get_at",
            Method::List => "list",
            Method::Set => "set",
            Method::Delete => "delete",
            Method::Txn => "txn",
            Method::GrantLease => "grant_lease",
            Method::UpdateLease => "update_lease",
            Method::KeepAliveLease => "keep_alive_lease",
            Method::ExpireLease => "expire_lease",
            Method::GetLease => "get_lease",
            Method::ListLeases => "list_leases",
            Method::LeaseKeys => "lease_keys",
            Method::History => "history",
            Method::Stream => "stream",
            Method::Status => "status",
            Method::MoveCursors => "move_cursors",
            Method::ListCursors => "list_cursors",
            Method::DeleteCursors => "delete_cursors",
            Method::GetSetting => "get_setting",
            Method::ListSettings => "list_settings",
            Method::Configure => "configure",
            Method::SettingChanges => "setting_changes",
            Method::TokenUses => "token_uses",
        }
    }
}

/// The key that a write is known by in the slow log: of a transaction that of its first comparison.
fn key_of(write: &Write) -> Option<&Key> {
    match write {
        Write::Set(set) => Some(&set.key),
        Write::Delete(delete) => Some(&delete.key),
        Write::Txn(txn) => txn.compare.first().map(|compare| &compare.key),
        Write::Lease(_) => None,
    }
}

#[async_trait]
impl<C: Client> Client for Metered<C> {
    async fn get(&self, key: &Key) -> Result<Entry> {
        self.meter
            .count_key(Method::Get, self.meter.key(key.as_bytes()), self.client.get(key))
            .await
    }

    async fn get_at(&self, key: &Key, at: EventId) -> Result<Entry> {
        self.meter
            .count_key(
                Method::GetAt,
                self.meter.key(key.as_bytes()),
                self.client.get_at(key, at),
            )
            .await
    }

    async fn list(&self, request: ListRequest) -> Result<Listing> {
        let prefix = self.meter.key(request.prefix.as_bytes());
        self.meter
            .count_key(Method::List, prefix, self.client.list(request))
            .await
    }

    async fn write(&self, id: Option<WriteId>, write: Write) -> Result<WriteAnswer> {
        let method = Method::of(&write);
        if !self.meter.slow.has_calls() {
            return self.meter.count(method, self.client.write(id, write)).await;
        }
        let key = key_of(&write).map(|key| KeyStart::of(key.as_bytes()));
        let call = observe::with_batch(self.client.write(id, write));
        self.meter.count_batch(method, key, call).await
    }

    async fn get_lease(&self, id: LeaseId) -> Result<Lease> {
        self.meter.count(Method::GetLease, self.client.get_lease(id)).await
    }

    async fn list_leases(&self, request: LeasesRequest) -> Result<Vec<Lease>> {
        self.meter
            .count(Method::ListLeases, self.client.list_leases(request))
            .await
    }

    async fn lease_keys(&self, request: LeaseKeysRequest) -> Result<LeaseKeys> {
        self.meter
            .count(Method::LeaseKeys, self.client.lease_keys(request))
            .await
    }

    async fn history(&self, request: HistoryRequest) -> Result<History> {
        let key = self.meter.key(request.key.as_bytes());
        self.meter
            .count_key(Method::History, key, self.client.history(request))
            .await
    }

    async fn stream(&self, request: StreamRequest) -> Result<EventStream> {
        let prefix = self.meter.key(request.prefix.as_bytes());
        let stream = self
            .meter
            .count_key(Method::Stream, prefix, self.client.stream(request))
            .await?;
        let (open, delivered) = (Up::new(&self.meter.streams), self.meter.events.clone());
        let opened_at = stream.opened_at();
        let items = stream.inspect(move |item| {
            // Moved in here, so that it counts as open until it is dropped.
            let _ = &open;
            if let Ok(StreamItem::Event(_)) = item {
                delivered.increment(1);
            }
        });
        Ok(EventStream::new(opened_at, items))
    }

    async fn status(&self) -> Result<Status> {
        self.meter.count(Method::Status, self.client.status()).await
    }

    async fn move_cursors(&self, moves: Vec<CursorMove>) -> Result<Vec<Result<Cursor>>> {
        self.meter
            .count(Method::MoveCursors, self.client.move_cursors(moves))
            .await
    }

    async fn list_cursors(&self, request: CursorsRequest) -> Result<Vec<Cursor>> {
        self.meter
            .count(Method::ListCursors, self.client.list_cursors(request))
            .await
    }

    async fn delete_cursors(&self, consumer: &ConsumerName) -> Result<u64> {
        self.meter
            .count(Method::DeleteCursors, self.client.delete_cursors(consumer))
            .await
    }
}

#[async_trait]
impl<A: Admin> Admin for Metered<A> {
    async fn get_setting(&self, name: &SettingName) -> Result<Setting> {
        self.meter
            .count(Method::GetSetting, self.client.get_setting(name))
            .await
    }

    async fn list_settings(&self, request: SettingsRequest) -> Result<SettingsPage> {
        self.meter
            .count(Method::ListSettings, self.client.list_settings(request))
            .await
    }

    async fn configure(&self, request: ConfigureRequest) -> Result<SettingChange> {
        let call = observe::with_batch(self.client.configure(request));
        self.meter.count_batch(Method::Configure, None, call).await
    }

    async fn configure_all(&self, requests: Vec<ConfigureRequest>) -> Result<Vec<SettingChange>> {
        let call = observe::with_batch(self.client.configure_all(requests));
        self.meter.count_batch(Method::Configure, None, call).await
    }

    async fn setting_changes(&self, request: SettingChangesRequest) -> Result<SettingChanges> {
        self.meter
            .count(Method::SettingChanges, self.client.setting_changes(request))
            .await
    }

    async fn token_uses(&self, after: Option<TokenHash>) -> Result<TokenUses> {
        self.meter.count(Method::TokenUses, self.client.token_uses(after)).await
    }
}

/// One more in a gauge, until this is dropped.
struct Up(Gauge);

impl Up {
    fn new(gauge: &Gauge) -> Up {
        gauge.increment(1);
        Up(gauge.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
