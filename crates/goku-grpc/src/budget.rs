//! The bytes that the requests and answers under way may hold, of all connections together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use goku::{Error, ErrorKind};
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::counts::{Limit, ServerCounts};
use crate::error::{Details, to_status};
use crate::permits::{Permits, Taken};
use crate::proto::rpc;
use crate::server_limits::{Resizable, ServerLimits};

/// Requests and answers of fewer bytes are not counted: their number is bounded by that of calls.
pub(crate) const COUNTED_BYTES_MIN: usize = 16 * 1024;

/// The longest time that a request waits for room: no longer than most clients wait for its answer.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Requests that may wait for room at a time; beyond it they are refused at once. Each holds what the window of its stream
/// lets in, so that there are fewer where that is large ([`waiting_max`]).
const WAITING_MAX: usize = 512;

/// The time without progress after which an answer is given up for others that wait for room, and how often these look.
const STALLED_AFTER: Duration = Duration::from_secs(2);
const STALLED_LOOK: Duration = Duration::from_secs(1);

/// Bytes of an answer that are handed to the connection at a time: when it has taken them, the answer has made way.
pub(crate) const STEP_BYTES_MAX: usize = 64 * 1024;

/// Room for requests, and as much for answers.
///
/// A request takes its room before it is read; until then HTTP/2's flow control holds its sender back. It has it until it is
/// answered. An answer takes room as it is written, and has it until the connection took it. So answers that nobody reads
/// could keep the room for ever: where others wait for it, those that have made no way for the longest time are given up.
/// Answers that are being read have what is free first, then the one that came last: so one that is read is not behind all
/// that are not.
pub(crate) struct Budget {
    /// In KiB.
    requests: Arc<Permits>,
    waiting: AtomicUsize,
    answers: Answers,
    limits: ServerLimits,
    counts: ServerCounts,
}

struct Answers {
    bytes_max: AtomicUsize,
    bytes: AtomicUsize,
    waiting: Mutex<BTreeMap<Rank, oneshot::Sender<()>>>,
    waiting_count: AtomicUsize,
    since: Instant,
    last_id: AtomicU64,
    /// The calls that hold some of it.
    calls: Mutex<HashMap<u64, Arc<Held>>>,
}

/// The order in which those who wait are told that there is room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// An answer that is being read, in the order in which they came.
    Read(u64),
    /// Another one, in the other order.
    New(Reverse<u64>),
}

/// The part of the budget that one call has.
pub(crate) struct Account {
    budget: Arc<Budget>,
    request: Mutex<Option<Taken>>,
    /// Set once a part of the answer was counted.
    answer: OnceLock<Arc<Held>>,
}

/// The part of the budget that the answer of one call holds.
struct Held {
    id: u64,
    bytes: AtomicUsize,
    /// When the connection last took some of it, or it began to hold some, in milliseconds.
    moved_ms: AtomicU64,
    /// Whether the connection took some of it.
    is_read: AtomicBool,
    given_up: AtomicBool,
    task: AtomicWaker,
}

/// A piece of an answer, until the connection has taken it.
struct Piece {
    bytes: Bytes,
    budget: Arc<Budget>,
    held: Arc<Held>,
}

/// A part of a piece, whose end shows that the answer makes way.
struct Step {
    bytes: Bytes,
    budget: Arc<Budget>,
    held: Arc<Held>,
}

/// Room for an answer that is not written yet.
pub(crate) struct Room {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Resizable for Budget {
    /// What is taken beyond it is not given again.
    fn resize(&self, bytes: usize) {
        let half = bytes.max(ServerLimits::IN_FLIGHT_BYTES_MIN) / 2;
        self.requests.resize(kib(half));
        self.answers.resize(half);
    }
}

impl Budget {
    /// A budget of as many bytes as `limits` say, also when they change: one half for requests and one for answers.
    pub(crate) fn new(limits: &ServerLimits, counts: ServerCounts) -> Arc<Budget> {
        let budget = Arc::new(Budget {
            requests: Permits::new(0),
            waiting: AtomicUsize::new(0),
            answers: Answers {
                bytes_max: AtomicUsize::new(0),
                bytes: AtomicUsize::new(0),
                waiting: Mutex::default(),
                waiting_count: AtomicUsize::new(0),
                since: Instant::now(),
                last_id: AtomicU64::new(0),
                calls: Mutex::default(),
            },
            limits: limits.clone(),
            counts,
        });
        limits.govern(Arc::downgrade(&budget) as Weak<dyn Resizable>);
        budget
    }

    pub(crate) fn account(self: &Arc<Budget>) -> Account {
        Account {
            budget: self.clone(),
            request: Mutex::default(),
            answer: OnceLock::new(),
        }
    }

    /// Room for an answer of so many bytes, if there is some.
    pub(crate) fn try_room(self: &Arc<Budget>, bytes: usize) -> Option<Room> {
        self.answers.has_room().then(|| self.take_room(bytes))
    }

    /// Room for an answer of so many bytes.
    pub(crate) async fn room(self: &Arc<Budget>, bytes: usize) -> Result<Room, Error> {
        let wait = tokio::time::timeout(WAIT_MAX, self.has_room(None));
        wait.await.map_err(|_| {
            self.counts.refuse(Limit::AnswersBytes);
            full("answers")
        })?;
        Ok(self.take_room(bytes))
    }

    fn take_room(self: &Arc<Budget>, bytes: usize) -> Room {
        self.answers.take(bytes);
        Room {
            budget: self.clone(),
            bytes,
        }
    }

    /// Waits until answers have room, and gives up those that make no way.
    async fn has_room(&self, held: Option<&Held>) {
        let answers = &self.answers;
        if answers.has_room() {
            return;
        }
        let rank = answers.rank(held);
        loop {
            let told = answers.wait(rank);
            if answers.has_room() {
                return;
            }
            if tokio::time::timeout(STALLED_LOOK, told).await.is_err() && answers.give_up_stalled() {
                self.counts.refuse(Limit::AnswersBytes);
            }
        }
    }

    async fn request_room(self: Arc<Budget>, bytes: usize) -> Result<Taken, Status> {
        let kib = u32::try_from(kib(bytes)).unwrap_or(u32::MAX);
        if let Some(permit) = self.requests.try_take(kib) {
            return Ok(permit);
        }
        let refused = || {
            self.counts.refuse(Limit::RequestsBytes);
            refusal(&full("requests"))
        };
        let waiting = Waiting::new(&self.waiting, waiting_max(&self.limits)).ok_or_else(refused)?;
        let permit = tokio::time::timeout(WAIT_MAX, self.requests.take(kib)).await;
        drop(waiting);
        permit.map_err(|_| refused())
    }
}

/// A request that waits, until this is dropped.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn new(waiting: &'w AtomicUsize, max: usize) -> Option<Waiting<'w>> {
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        let one = Waiting(waiting);
        (before < max).then_some(one)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests that may wait for room at a time: together they hold half of the window of a connection, so that those which have
/// room arrive whatever the others of their connection wait for.
fn waiting_max(limits: &ServerLimits) -> usize {
    let waiting = limits.connection_window_bytes() / 2 / limits.stream_window_bytes();
    (waiting as usize).clamp(1, WAITING_MAX)
}

fn full(what: &str) -> Error {
    let message = format!(
        "the server has no room for more {what} at the moment, nothing was applied: try again, with fewer or smaller ones at a time"
    );
    Error::new(ErrorKind::Unavailable, message)
}

/// The status of an error for want of room: clients of goku try again, as its details say, and others see the code.
pub(crate) fn refusal(error: &Error) -> Status {
    let status = to_status(error, Details::Hop);
    let mut details = rpc::Status::decode(status.details()).unwrap_or_default();
    details.code = Code::ResourceExhausted.into();
    Status::with_details(
        Code::ResourceExhausted,
        status.message(),
        details.encode_to_vec().into(),
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while one is locked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn kib(bytes: usize) -> usize {
    bytes.div_ceil(1024)
}

impl Answers {
    /// Begins to count for a call.
    fn open(&self) -> Arc<Held> {
        let held = Arc::new(Held {
            id: self.last_id.fetch_add(1, Ordering::Relaxed),
            bytes: AtomicUsize::new(0),
            moved_ms: AtomicU64::new(self.now_ms()),
            is_read: AtomicBool::new(false),
            given_up: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        lock(&self.calls).insert(held.id, held.clone());
        held
    }

    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.bytes_max()
    }

    fn bytes_max(&self) -> usize {
        self.bytes_max.load(Ordering::Relaxed)
    }

    fn resize(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::SeqCst);
        if self.has_room() {
            self.tell_one();
        }
    }

    fn take(&self, bytes: usize) {
        let before = self.bytes.fetch_add(bytes, Ordering::SeqCst);
        // Who was told that there is room may have left some.
        if before + bytes < self.bytes_max() {
            self.tell_one();
        }
    }

    fn give_back(&self, bytes: usize) {
        let before = self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        if before - bytes < self.bytes_max() {
            self.tell_one();
        }
    }

    fn rank(&self, held: Option<&Held>) -> Rank {
        let number = self.last_id.fetch_add(1, Ordering::Relaxed);
        let stalled_ms = STALLED_AFTER.as_millis() as u64;
        match held {
            Some(held) if held.is_read.load(Ordering::Relaxed) && held.still_ms(self.now_ms()) < stalled_ms => {
                Rank::Read(number)
            }
            _ => Rank::New(Reverse(number)),
        }
    }

    /// Waits to be told that there is room.
    fn wait(&self, rank: Rank) -> Told<'_> {
        let (tell, told) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        waiting.insert(rank, tell);
        self.waiting_count.store(waiting.len(), Ordering::SeqCst);
        Told {
            answers: self,
            rank,
            told,
        }
    }

    /// Tells the first of those who wait that there is room.
    fn tell_one(&self) {
        if self.waiting_count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut waiting = lock(&self.waiting);
        if let Some((_, tell)) = waiting.pop_first() {
            // One that has gone has taken itself out, or looks for room itself.
            let _ = tell.send(());
        }
        self.waiting_count.store(waiting.len(), Ordering::SeqCst);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Gives up the answer that has made no way for the longest time, if that is long; false where there is none.
    fn give_up_stalled(&self) -> bool {
        let now = self.now_ms();
        let stalled = {
            let calls = lock(&self.calls);
            let stalled = calls.values().filter(|held| held.is_stalled(now));
            stalled
                .min_by_key(|held| held.moved_ms.load(Ordering::Relaxed))
                .cloned()
        };
        let Some(held) = stalled else { return false };
        let bytes = held.bytes.load(Ordering::Relaxed);
        tracing::debug!(bytes, "an answer that nobody reads was given up for others");
        held.given_up.store(true, Ordering::Release);
        held.task.wake();
        true
    }
}

/// An answer that waits to be told of room, until this is dropped.
struct Told<'a> {
    answers: &'a Answers,
    rank: Rank,
    told: oneshot::Receiver<()>,
}

impl Future for Told<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.told).poll(cx).map(drop)
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        let mut waiting = lock(&self.answers.waiting);
        waiting.remove(&self.rank);
        self.answers.waiting_count.store(waiting.len(), Ordering::SeqCst);
    }
}

impl Held {
    /// The time since the answer last made progress.
    fn still_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.moved_ms.load(Ordering::Relaxed))
    }

    fn is_stalled(&self, now_ms: u64) -> bool {
        self.bytes.load(Ordering::Relaxed) > 0
            && !self.given_up.load(Ordering::Relaxed)
            && self.still_ms(now_ms) >= STALLED_AFTER.as_millis() as u64
    }

    fn moves(&self, now_ms: u64) {
        self.moved_ms.store(now_ms, Ordering::Relaxed);
        self.is_read.store(true, Ordering::Relaxed);
    }
}

impl Account {
    /// Takes room for a request of so many bytes.
    pub(crate) fn request_room(
        self: &Arc<Account>,
        bytes: usize,
    ) -> impl Future<Output = Result<(), Status>> + Send + use<> {
        let account = self.clone();
        async move {
            let permit = account.budget.clone().request_room(bytes).await?;
            *lock(&account.request) = Some(permit);
            Ok(())
        }
    }

    pub(crate) fn answers_have_room(&self) -> bool {
        self.budget.answers.has_room()
    }

    /// Waits until answers have room.
    pub(crate) fn answer_room(self: &Arc<Account>) -> impl Future<Output = ()> + Send + use<> {
        let account = self.clone();
        async move {
            let held = account.answer.get().map(|held| &**held);
            account.budget.has_room(held).await;
        }
    }

    /// Counts a piece of the answer until it is dropped.
    pub(crate) fn count(&self, bytes: Bytes) -> Bytes {
        let answers = &self.budget.answers;
        let held = self.answer.get_or_init(|| answers.open());
        if held.bytes.fetch_add(bytes.len(), Ordering::Relaxed) == 0 {
            held.moved_ms.store(answers.now_ms(), Ordering::Relaxed);
        }
        answers.take(bytes.len());
        Bytes::from_owner(Piece {
            bytes,
            budget: self.budget.clone(),
            held: held.clone(),
        })
    }

    /// A part of a piece that was counted.
    pub(crate) fn step(&self, bytes: Bytes) -> Bytes {
        match self.answer.get() {
            Some(held) => Bytes::from_owner(Step {
                bytes,
                budget: self.budget.clone(),
                held: held.clone(),
            }),
            None => bytes,
        }
    }

    /// Completes once the call's answer is given up.
    pub(crate) fn poll_given_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(held) = self.answer.get() else {
            return Poll::Pending;
        };
        held.task.register(cx.waker());
        if held.given_up.load(Ordering::Acquire) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(held) = self.answer.get() {
            lock(&self.budget.answers.calls).remove(&held.id);
        }
    }
}

impl AsRef<[u8]> for Step {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.held.moves(self.budget.answers.now_ms());
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let bytes = self.bytes.len();
        let answers = &self.budget.answers;
        self.held.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.held.moves(answers.now_ms());
        answers.give_back(bytes);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.budget.answers.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::poll;

    use super::*;
    use crate::error::{Call, from_status};

    const BYTES_MIN: usize = ServerLimits::IN_FLIGHT_BYTES_MIN;
    const HALF: usize = BYTES_MIN / 2;

    fn budget(bytes: usize) -> Arc<Budget> {
        let limits = ServerLimits::default();
        limits.set_in_flight_bytes_max(bytes);
        Budget::new(&limits, ServerCounts::default())
    }

    fn account(budget: &Arc<Budget>) -> Arc<Account> {
        Arc::new(budget.account())
    }

    #[tokio::test]
    async fn a_request_waits_until_others_are_answered() {
        let budget = budget(0);
        let first = account(&budget);
        first.request_room(HALF).await.unwrap();
        let second = account(&budget);
        let mut waits = pin!(second.request_room(COUNTED_BYTES_MIN));
        assert!(poll!(waits.as_mut()).is_pending());
        drop(first);
        waits.await.unwrap();
    }

    #[tokio::test]
    async fn another_size_counts_for_those_that_wait_and_those_under_way_go_on() {
        let budget = budget(2 * BYTES_MIN);
        let first = account(&budget);
        first.request_room(2 * HALF).await.unwrap();
        let kept = first.count(vec![0; 2 * HALF].into());
        let second = account(&budget);
        let mut waits = pin!(second.request_room(COUNTED_BYTES_MIN));
        let mut answers_wait = pin!(second.answer_room());
        assert!(poll!(waits.as_mut()).is_pending() && poll!(answers_wait.as_mut()).is_pending());
        budget.limits.set_in_flight_bytes_max(3 * BYTES_MIN);
        waits.await.unwrap();
        answers_wait.await;

        // Of the smaller size there is room only once what is under way has less.
        budget.limits.set_in_flight_bytes_max(0);
        drop(second);
        let third = account(&budget);
        let mut waits = pin!(third.request_room(COUNTED_BYTES_MIN));
        assert!(poll!(waits.as_mut()).is_pending() && !third.answers_have_room());
        drop((kept, first));
        waits.await.unwrap();
        assert!(third.answers_have_room());
    }

    #[test]
    fn fewer_requests_may_wait_where_each_holds_more() {
        let limits = ServerLimits::default();
        assert_eq!(waiting_max(&limits), WAITING_MAX);
        limits.set_windows(1024 * 1024, ServerLimits::CONNECTION_WINDOW_BYTES);
        assert_eq!(waiting_max(&limits), 32);
        limits.set_windows(1024 * 1024, 0);
        assert_eq!(waiting_max(&limits), 1);
    }

    #[tokio::test]
    async fn more_requests_than_may_wait_are_refused_at_once_and_can_be_tried_again() {
        let budget = budget(0);
        let first = account(&budget);
        first.request_room(HALF).await.unwrap();
        let mut waiting = Vec::new();
        for _ in 0..WAITING_MAX {
            let mut waits = Box::pin(account(&budget).request_room(HALF));
            assert!(poll!(waits.as_mut()).is_pending());
            waiting.push(waits);
        }
        let refused = account(&budget).request_room(HALF).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(budget.counts.refused(Limit::RequestsBytes), 1);
        assert_eq!(from_status(refused, Call::Write).kind(), ErrorKind::Unavailable);

        waiting.pop();
        let mut waits = pin!(account(&budget).request_room(HALF));
        assert!(poll!(waits.as_mut()).is_pending());
    }

    #[tokio::test]
    async fn an_answer_that_nobody_reads_is_given_up_for_others_and_one_that_is_read_is_not() {
        let budget = budget(0);
        let (unread, read) = (account(&budget), account(&budget));
        let kept = unread.count(vec![0; HALF].into());
        let mut moving = read.count(vec![0; COUNTED_BYTES_MIN].into());
        let other = account(&budget);
        let mut waits = pin!(other.answer_room());
        let mut given_up = pin!(std::future::poll_fn(|cx| unread.poll_given_up(cx)));
        loop {
            tokio::select! {
                () = &mut given_up => break,
                () = &mut waits => panic!("there is no room"),
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    drop(moving);
                    moving = read.count(vec![0; COUNTED_BYTES_MIN].into());
                }
            }
        }
        assert!(poll!(pin!(std::future::poll_fn(|cx| read.poll_given_up(cx)))).is_pending());
        drop(kept);
        waits.await;
    }

    #[tokio::test]
    async fn an_answer_that_is_read_has_room_before_others_and_the_last_before_the_first() {
        let budget = budget(0);
        let full = account(&budget);
        let kept = full.count(vec![0; HALF].into());
        let read = account(&budget);
        drop(read.count(Bytes::from_static(b"read")));
        let (first, last) = (account(&budget), account(&budget));
        let mut first_waits = pin!(first.answer_room());
        let mut last_waits = pin!(last.answer_room());
        let mut read_waits = pin!(read.answer_room());
        assert!(poll!(first_waits.as_mut()).is_pending());
        assert!(poll!(last_waits.as_mut()).is_pending());
        assert!(poll!(read_waits.as_mut()).is_pending());

        drop(kept);
        let kept = full.count(vec![0; HALF - 1].into());
        read_waits.await;
        last_waits.await;
        assert!(poll!(first_waits.as_mut()).is_pending());
        drop(kept);
        first_waits.await;
    }

    #[tokio::test]
    async fn what_was_counted_is_given_back() {
        let budget = budget(0);
        let answers = account(&budget);
        let piece = answers.count(vec![0; HALF].into());
        assert!(budget.try_room(1).is_none());
        // A part of it keeps all of it.
        let part = piece.slice(..1);
        drop(piece);
        assert!(budget.try_room(1).is_none());
        drop(part);
        let room = budget.try_room(HALF).unwrap();
        assert!(!answers.answers_have_room());
        drop(room);
        assert!(answers.answers_have_room());
        drop(answers);
        assert!(budget.answers.calls.lock().unwrap().is_empty());
    }
}
