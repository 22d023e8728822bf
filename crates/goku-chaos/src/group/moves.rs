//! How long the partitions of members that were killed are handled by nobody.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use goku::consumer::roster;
use goku::{Client, ConsumerName, EventType, Prefix, StreamFrom, StreamItem, StreamRequest};
use goku_testkit::Resource;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::NAME;

/// How long the list of members may take before a member is killed without its partitions being known.
const ROSTER_MAX: Duration = Duration::from_secs(1);

/// When each partition was claimed by which event, as it was heard of.
type Claims = Arc<Mutex<BTreeMap<(u32, u64), Instant>>>;

/// The partitions of members that were killed, and who had them next.
pub(super) struct Moves {
    client: Arc<dyn Client>,
    claims: Claims,
    /// Partition, the token of who was killed, and when.
    killed: Vec<(u32, u64, Instant)>,
    _watching: AbortOnDropHandle<()>,
}

impl Moves {
    pub(super) fn watch(client: Arc<dyn Client>) -> Moves {
        let claims = Claims::default();
        let watching = tokio::spawn(hear(client.clone(), claims.clone()));
        Moves {
            client,
            claims,
            killed: Vec::new(),
            _watching: AbortOnDropHandle::new(watching),
        }
    }

    /// Kills the member of this number, and remembers what it held.
    pub(super) async fn kill<F: Future<Output = ()>>(&mut self, number: usize, kill: impl FnOnce() -> F) {
        let name = ConsumerName::new(NAME).unwrap();
        let found = timeout(ROSTER_MAX, roster(&*self.client, &name)).await;
        kill().await;
        let now = Instant::now();
        if let Ok(Ok(Some(roster))) = found {
            let own = format!("{number}-");
            let members = roster.members.into_iter();
            let held = members.filter(|member| member.label.starts_with(&own));
            let held = held.flat_map(|member| member.partitions);
            self.killed
                .extend(held.map(|(partition, token)| (partition, token.get(), now)));
        }
    }

    /// How long it took from a kill to the next claim of each partition, and to the first effect of its new holder where
    /// `resource` knows that.
    pub(super) fn summary(&self, resource: Option<&Resource>) -> String {
        let claims = self.claims.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let after = |moments: &BTreeMap<(u32, u64), Instant>| {
            let times = self.killed.iter().filter_map(|(partition, token, killed)| {
                let later = moments.range((*partition, token + 1)..=(*partition, u64::MAX));
                let first = later.map(|(_, at)| *at).min()?;
                Some(first.saturating_duration_since(*killed))
            });
            times.collect()
        };
        let mut text = format!(
            "from a kill to the next claim of its partitions: {}\n",
            show(after(&claims))
        );
        if let Some(resource) = resource {
            let tenures = resource.tenures();
            let effects = tenures.iter().map(|(held, tenure)| (*held, tenure.first)).collect();
            text += &format!(
                "from a kill to the first effect of the next holder: {}\n",
                show(after(&effects))
            );
        }
        text
    }
}

/// Hears of claims. Where the stream breaks off it goes on after what was heard of.
async fn hear(client: Arc<dyn Client>, claims: Claims) {
    let prefix = format!("{}group/{NAME}/partition/", goku::consumer::RESERVED_PREFIX);
    let mut from = StreamFrom::Beginning;
    loop {
        let request = StreamRequest::new(Prefix::new(&prefix).unwrap()).from(from);
        if let Ok(mut stream) = client.stream(request).await {
            while let Some(Ok(item)) = stream.next().await {
                let StreamItem::Event(event) = item else { continue };
                from = StreamFrom::Resume(event.position());
                let number = event.key.text().and_then(|key| key.strip_prefix(&prefix));
                if let Some(Ok(partition)) = number.map(str::parse)
                    && event.event_type == EventType::Set
                {
                    let token = event.id.get().unsigned_abs();
                    let mut claims = claims.lock().unwrap_or_else(PoisonError::into_inner);
                    claims.insert((partition, token), Instant::now());
                }
            }
        }
        sleep(Duration::from_millis(100)).await;
    }
}

fn show(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    match (times.get(times.len() / 2), times.last()) {
        (Some(median), Some(longest)) => format!("{median:.2?} (median), {longest:.2?} (longest), of {}", times.len()),
        _ => "never seen".to_owned(),
    }
}
