//! A store held against the model: the same steps on both, and every answer, row and event compared.

mod generate;
mod random;
mod step;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use goku::{
    Client, Event, EventId, EventStream, EventType, LeaseId, LeasesRequest, ListRequest, ManualClock, Position, Prefix,
    Status, StreamFrom, StreamItem, StreamRequest, Tag, Timestamp,
};
use tokio::time::{Instant, sleep, timeout};

use crate::model::ModelClient;
use crate::probe::PATIENCE;
use step::perform;

pub use generate::Ttl;
pub use generate::start;
pub use generate::steps;
pub use random::OnClock;
pub use random::RUNS_VARIABLE;
pub use random::SEED_VARIABLE;
pub use random::compare_on_clock;
pub use random::compare_on_own_time;
pub use step::Step;

/// Where the time of a store comes from.
#[derive(Clone)]
pub enum Time {
    /// From this clock, which [`Step::Advance`] moves: times are compared too.
    Manual(Arc<ManualClock>),
    /// From the store itself: only what is due from the beginning ends by itself, and no time is compared.
    Own,
}

/// A store and the model, step for step.
pub struct Comparison {
    model: ModelClient,
    subject: Arc<dyn Client>,
    time: Time,
    patience: Duration,
    /// The events of the subject, as they happen.
    live: EventStream,
    /// How many of them were compared.
    compared: usize,
}

/// Where the store and the model differ.
#[derive(Debug)]
pub struct Divergence {
    what: String,
    model: String,
    subject: String,
}

impl Comparison {
    /// Begins with `subject`, an empty store.
    pub async fn start(subject: Arc<dyn Client>, time: Time) -> Comparison {
        let clock = match &time {
            Time::Manual(clock) => clock.clone(),
            Time::Own => Arc::new(ManualClock::new(subject.status().await.unwrap().time)),
        };
        let live = subject.stream(StreamRequest::default()).await.unwrap();
        Comparison {
            model: ModelClient::new(clock),
            subject,
            time,
            patience: PATIENCE,
            live,
            compared: 0,
        }
    }

    /// The same, giving up sooner on what does not happen.
    pub fn patience(self, patience: Duration) -> Comparison {
        Comparison { patience, ..self }
    }

    /// Takes all steps, and compares the whole state at the end.
    pub async fn run(mut self, steps: &[Step]) -> Result<(), Divergence> {
        for (number, step) in steps.iter().enumerate() {
            self.step(step)
                .await
                .map_err(|divergence| divergence.at(format!("step {number}, {step:?}")))?;
        }
        self.finish().await.map_err(|divergence| divergence.at("the end"))
    }

    async fn step(&mut self, step: &Step) -> Result<(), Divergence> {
        if let Step::Advance(by) = step {
            if let Time::Manual(clock) = &self.time {
                clock.advance(*by);
            }
        } else {
            self.compare_answers(step).await?;
        }
        self.compare_new_events().await?;
        self.compare_status().await
    }

    async fn compare_answers(&self, step: &Step) -> Result<(), Divergence> {
        let model = perform(&self.model, step).await;
        let subject = perform(&*self.subject, step).await;
        let masked = |answer: step::Answer| match self.time {
            Time::Manual(_) => answer,
            Time::Own => answer.without_times(),
        };
        same("the answer", model.map(masked), subject.map(masked))
    }

    /// Waits for the events that the model made, those of leases that have come to their end included.
    async fn compare_new_events(&mut self) -> Result<(), Divergence> {
        let log = self.model.model().log().to_vec();
        for expected in log.into_iter().skip(self.compared) {
            let item = timeout(self.patience, self.live.next()).await;
            let event = match item {
                Ok(Some(Ok(StreamItem::Event(event)))) => event,
                other => return same("an event", format!("{expected:?}"), format!("{other:?}")),
            };
            same("an event", self.plain(expected), self.plain(event))?;
            self.compared += 1;
        }
        Ok(())
    }

    /// Waits until the counts agree: a lease without keys ends without an event to wait for.
    async fn compare_status(&self) -> Result<(), Divergence> {
        let counts = |status: Status| {
            let Status {
                head,
                rev,
                keys,
                events,
                leases,
                ..
            } = status;
            (head.position.id, rev, keys, events, leases)
        };
        let expected = counts(self.model.status().await.unwrap());
        let started = Instant::now();
        loop {
            let status = self.subject.status().await.map(counts).map_err(|error| error.kind());
            if status == Ok(expected) {
                return Ok(());
            }
            if started.elapsed() > self.patience {
                return same("the status", Ok(expected), status);
            }
            sleep(Duration::from_millis(2)).await;
        }
    }

    async fn finish(mut self) -> Result<(), Divergence> {
        self.compare_answers(&Step::List(ListRequest::default())).await?;
        self.compare_answers(&Step::ListLeases(LeasesRequest::default()))
            .await?;
        let leases = self.model.model().leases_given_out();
        for id in (1..=leases + 1).filter_map(|id| LeaseId::new(id).ok()) {
            self.compare_answers(&Step::GetLease(id)).await?;
        }
        self.compare_logs().await?;
        self.compare_new_events().await
    }

    /// From the beginning and from the middle, whole and filtered.
    async fn compare_logs(&self) -> Result<(), Divergence> {
        let all = self.read_log(&*self.subject, StreamRequest::default()).await?;
        let expected = self.model.model().log().to_vec();
        same(
            "the log",
            expected.into_iter().map(|event| self.plain(event)).collect::<Vec<_>>(),
            all.iter().cloned().map(|event| self.plain(event)).collect(),
        )?;
        let middle = all.len() / 2;
        let after = all.get(middle).map_or(Position::default(), Event::position);
        let rest = StreamRequest::default().from(StreamFrom::Resume(after));
        let rest = self.read_log(&*self.subject, rest).await?;
        same("the log from the middle", &all[all.len().min(middle + 1)..], &rest[..])?;
        let filtered = StreamRequest {
            prefix: Prefix::new("a").unwrap(),
            types: [EventType::Set, EventType::Expire].into_iter().collect(),
            ..StreamRequest::default()
        };
        let model = self.read_log(&self.model, filtered.clone()).await?;
        let subject = self.read_log(&*self.subject, filtered).await?;
        same("the filtered log", ids(&model), ids(&subject))
    }

    async fn read_log(&self, client: &dyn Client, request: StreamRequest) -> Result<Vec<Event>, Divergence> {
        let stream = client.stream(request.to_head()).await;
        let stream = stream.map_err(|error| Divergence::new("a stream", "opens", &error))?;
        let events = stream
            .filter_map(async |item| match item {
                Ok(StreamItem::Event(event)) => Some(Ok(event)),
                Ok(StreamItem::Progress(_)) => None,
                Err(error) if error.kind() == goku::ErrorKind::HeadReached => None,
                Err(error) => Some(Err(error)),
            })
            .try_collect();
        match timeout(self.patience, events).await {
            Ok(Ok(events)) => Ok(events),
            other => Err(Divergence::new("a stream", "reaches the head", &other)),
        }
    }

    /// The event without what the model cannot know.
    fn plain(&self, event: Event) -> Event {
        Event {
            tag: Tag::default(),
            timestamp: match self.time {
                Time::Manual(_) => event.timestamp,
                Time::Own => Timestamp::default(),
            },
            ..event
        }
    }
}

fn ids(events: &[Event]) -> Vec<EventId> {
    events.iter().map(|event| event.id).collect()
}

fn same<T: PartialEq + fmt::Debug>(what: &str, model: T, subject: T) -> Result<(), Divergence> {
    match model == subject {
        true => Ok(()),
        false => Err(Divergence::new(what, &model, &subject)),
    }
}

impl Divergence {
    fn new(what: &str, model: impl fmt::Debug, subject: impl fmt::Debug) -> Divergence {
        Divergence {
            what: what.into(),
            model: format!("{model:?}"),
            subject: format!("{subject:?}"),
        }
    }

    fn at(self, place: impl fmt::Display) -> Divergence {
        Divergence {
            what: format!("{place}: {}", self.what),
            ..self
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { what, model, subject } = self;
        write!(f, "{what}\n  the model: {model}\n  the store: {subject}")
    }
}

#[cfg(test)]
mod tests;
