//! Groups of consumers.

use std::sync::Arc;
use std::time::Duration;

use goku::consumer::{
    self, Consumer, Delivery, Failure, Group, Halt, Holding, Place, Retry, Roster, Spec, Start, roster,
};
use goku::{Client, ConsumerName, CursorId, CursorsRequest, Error, ErrorKind, LeaseRequest, Result};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::gate::Gate;
use crate::probe::{PATIENCE, Probe, kind, prefix, soon};
use crate::resource::{Effect, Resource};

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A lease that no member loses by itself, however slow the machine is.
const LONG: Duration = PATIENCE;

/// A lease of one that is to be replaced soon.
const SHORT: Duration = Duration::from_secs(1);

const PARTITIONS: u32 = 8;

fn name() -> ConsumerName {
    ConsumerName::new("g").unwrap()
}

fn spec() -> Spec {
    Spec::new(name(), prefix("k"))
        .retry(Retry { first: POLL, max: POLL })
        .flush(POLL)
        .progress(Duration::from_millis(50))
}

/// A member whose effects are on `resource`, each once the gate is open.
fn member(gate: &Gate, label: &str, spec: Spec, resource: &Arc<Resource>) -> Group {
    let client: Arc<dyn Client> = Arc::new(gate.clone());
    let (gate, resource, holder) = (gate.clone(), resource.clone(), label.to_owned());
    let make = move |holding: Holding| {
        let (gate, resource, holder) = (gate.clone(), resource.clone(), holder.clone());
        let client: Arc<dyn Client> = Arc::new(gate.clone());
        Consumer::new(client, holding.spec(), move |delivery: Delivery| {
            let (gate, resource) = (gate.clone(), resource.clone());
            let effect = Effect::of(&delivery, &holding, &holder);
            async move {
                gate.passed().await;
                if resource.apply(effect) {
                    Ok::<_, Failure>(())
                } else {
                    Err("an older holder".into())
                }
            }
        })
    };
    Group::new(client, spec, make)
        .label(label)
        .partitions(PARTITIONS)
        .ttl(LONG)
}

/// A member that runs until it is stopped, or dies.
struct Running {
    stop: tokio::sync::oneshot::Sender<()>,
    ended: JoinHandle<Result<()>>,
}

fn run(group: Group) -> Running {
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let ended = tokio::spawn(async move { group.run(async { drop(stopped.await) }).await });
    Running { stop, ended }
}

impl Running {
    async fn stop(self) {
        drop(self.stop);
        soon("the end of a member", self.ended).await.unwrap().unwrap();
    }

    /// Nothing of it goes on, and it gives up nothing.
    async fn die(self) {
        self.ended.abort();
        assert!(
            soon("the end of a member", self.ended)
                .await
                .unwrap_err()
                .is_cancelled()
        );
    }
}

/// Waits until the members of these labels hold so many partitions each.
async fn until_shared(store: &Probe, shares: &[(&str, usize)]) -> Roster {
    let client = store.client();
    soon(&format!("shares of {shares:?}"), async {
        loop {
            if let Some(roster) = roster(&*client, &name()).await.unwrap() {
                let mut held: Vec<_> = roster
                    .members
                    .iter()
                    .map(|member| (member.label.as_str(), member.partitions.len()))
                    .collect();
                held.sort_unstable();
                if held == shares {
                    return roster;
                }
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await
}

/// Sets keys, each so often, and waits until all of that has had its effects.
async fn put_and_wait(store: &Probe, resource: &Resource, rounds: usize) {
    for round in 0..rounds {
        for key in 0..20 {
            store.put(&format!("k{key}"), round.to_string()).await;
        }
    }
    until_applied(store, resource).await;
}

async fn until_applied(store: &Probe, resource: &Resource) {
    let events = store.log("k").await.len();
    soon("effects of all events", async {
        while resource.applied() < events {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    assert_eq!(resource.violations(&store.log("k").await), [""; 0]);
}

pub async fn members_share_the_partitions_and_nothing_is_lost_or_out_of_order(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let labels = ["a", "b", "c"];
    let members = labels.map(|label| run(member(&gate, label, spec(), &resource)));
    put_and_wait(&store, &resource, 3).await;
    let client = store.client();
    soon("a share for each", async {
        loop {
            let roster = roster(&*client, &name()).await.unwrap().unwrap();
            let mut shares: Vec<_> = roster.members.iter().map(|member| member.partitions.len()).collect();
            shares.sort_unstable();
            if shares == [2, 3, 3] {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    put_and_wait(&store, &resource, 3).await;
    for member in members {
        member.stop().await;
    }
    let roster = roster(&*client, &name()).await.unwrap().unwrap();
    assert_eq!((roster.partitions, roster.members), (PARTITIONS, vec![]));
    assert_eq!(resource.refused(), 0);
}

pub async fn one_that_joins_gets_its_share_and_one_that_leaves_gives_it_up(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource));
    let alone = until_shared(&store, &[("a", 8)]).await;
    put_and_wait(&store, &resource, 1).await;
    let b = run(member(&gate, "b", spec(), &resource));
    let both = until_shared(&store, &[("a", 4), ("b", 4)]).await;
    // What stays is held as it was.
    assert!(
        both.members[0]
            .partitions
            .iter()
            .all(|held| alone.members[0].partitions.contains(held))
    );
    put_and_wait(&store, &resource, 1).await;
    // With a lease that is far from its end.
    a.stop().await;
    let rest = until_shared(&store, &[("b", 8)]).await;
    for (partition, token) in &rest.members[0].partitions {
        let before = both.holder(*partition).unwrap();
        let (_, older) = before.partitions.iter().find(|(held, _)| held == partition).unwrap();
        assert_eq!(token > older, before.label == "a", "{partition}");
    }
    put_and_wait(&store, &resource, 1).await;
    b.stop().await;
    // Each was handled once: the cursors were moved before others went on.
    assert_eq!((resource.repeated(), resource.refused()), (0, 0));
}

pub async fn the_partitions_of_one_that_dies_are_taken_over(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource).ttl(SHORT));
    let b = run(member(&gate, "b", spec(), &resource).ttl(LONG));
    soon("a share for each", async {
        let client = store.client();
        while !roster(&*client, &name()).await.unwrap().is_some_and(|roster| {
            let shares = roster.members.iter().map(|member| member.partitions.len());
            shares.collect::<Vec<_>>() == [4, 4]
        }) {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    put_and_wait(&store, &resource, 1).await;
    a.die().await;
    put_and_wait(&store, &resource, 1).await;
    until_shared(&store, &[("b", 8)]).await;
    b.stop().await;
}

pub async fn one_that_stood_still_is_refused_and_joins_anew(store: Probe) {
    let resource = Arc::new(Resource::default());
    let (gate, open) = (Gate::before(store.client()), Gate::before(store.client()));
    let a = run(member(&gate, "a", spec(), &resource));
    let before = until_shared(&store, &[("a", 8)]).await;
    put_and_wait(&store, &resource, 1).await;
    // It stands still, with events that it was about to handle, and its lease ends.
    gate.set_open(false);
    for key in 0..20 {
        store.put(&format!("k{key}"), "while a stands still").await;
    }
    let lease = before.members[0].lease;
    store.client().lease(LeaseRequest::Expire(lease)).await.unwrap();
    let b = run(member(&open, "b", spec(), &resource));
    until_shared(&store, &[("b", 8)]).await;
    until_applied(&store, &resource).await;
    gate.set_open(true);
    until_shared(&store, &[("a", 4), ("b", 4)]).await;
    put_and_wait(&store, &resource, 1).await;
    a.stop().await;
    b.stop().await;
}

pub async fn a_lease_that_cannot_be_renewed_ends_the_handling(store: Probe) {
    store.put("k", "v").await;
    let gate = Gate::before(store.client());
    let client: Arc<dyn Client> = Arc::new(gate.clone());
    let (began, mut begun) = mpsc::unbounded_channel();
    let make = {
        let client = client.clone();
        move |holding: Holding| {
            let began = began.clone();
            Consumer::new(client.clone(), holding.spec(), move |_| {
                let began = began.clone();
                async move {
                    // Dropped with the attempt, which does not end by itself.
                    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
                    began.send(gone)?;
                    std::future::pending::<()>().await;
                    drop(alive);
                    Ok::<_, Failure>(())
                }
            })
        }
    };
    let a = run(Group::new(client, spec(), make).partitions(1).ttl(SHORT));
    let attempt = soon("a delivery", begun.recv()).await.unwrap();
    gate.set_open(false);
    soon("the end of the attempt", attempt).await.unwrap_err();
    gate.set_open(true);
    let again = soon("another delivery", begun.recv()).await.unwrap();
    a.die().await;
    soon("the end of the attempt", again).await.unwrap_err();
}

pub async fn another_number_of_partitions_is_refused(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    let other = member(&gate, "b", spec(), &resource).partitions(4);
    let refused = soon("a refusal", other.run(std::future::pending())).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(refused.message().contains("8 partitions"), "{refused}");
    until_shared(&store, &[("a", 8)]).await;
    a.stop().await;
}

pub async fn a_consumer_alone_is_refused_under_the_name_of_a_group(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    let alone = Consumer::new(store.client(), spec(), |_| async { Ok::<_, Failure>(()) });
    let refused = soon("a refusal", alone.run(std::future::pending())).await;
    assert_eq!(kind(refused), ErrorKind::InvalidArgument);
    a.stop().await;
}

pub async fn a_group_goes_on_where_a_consumer_alone_has_come_to(store: Probe) {
    for key in 0..10 {
        store.put(&format!("k{key}"), "before").await;
    }
    let (teller, mut taken) = mpsc::unbounded_channel();
    let alone = Consumer::new(store.client(), spec(), move |delivery: Delivery| {
        let told = teller.send(delivery.id());
        async move { Ok::<_, Failure>(told?) }
    });
    let until_all = async {
        for _ in 0..10 {
            taken.recv().await.unwrap();
        }
    };
    soon("the end of a consumer", alone.run(until_all)).await.unwrap();
    let before = store.log("k").await;

    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource));
    for key in 0..10 {
        store.put(&format!("k{key}"), "after").await;
    }
    soon("effects", async {
        while resource.applied() < 10 {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    a.stop().await;
    let after = store.log("k").await.split_off(before.len());
    assert_eq!(resource.violations(&after), [""; 0]);
}

pub async fn a_group_at_the_head_begins_at_the_same_place_everywhere(store: Probe) {
    store.put("k", "before").await;
    let head = store.status().await.unwrap().head;
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec().start(Start::Head), &resource));
    until_shared(&store, &[("a", 8)]).await;
    a.stop().await;
    // A partition whose cursor is gone begins there again, and not at a later head.
    store.client().delete_cursors(&name()).await.unwrap();
    store.put("k", "after").await;
    let a = run(member(&gate, "a", spec().start(Start::Head), &resource));
    let request = CursorsRequest {
        consumer: Some(name()),
        ..CursorsRequest::default()
    };
    let client = store.client();
    let cursors = async || client.list_cursors(request.clone()).await.unwrap();
    soon("an effect, and a cursor for each partition", async {
        while resource.applied() == 0 || cursors().await.len() < PARTITIONS as usize {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    a.stop().await;
    let after = store.log("k").await.split_off(1);
    assert_eq!(resource.violations(&after), [""; 0]);
    let cursors = cursors().await;
    assert!(cursors.iter().all(|cursor| cursor.at.position.id >= head.position.id));
}

pub async fn a_group_that_runs_is_reset_again_and_again(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let a = run(member(&gate, "a", spec(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    put_and_wait(&store, &resource, 1).await;
    let client = store.client();
    for _ in 0..5 {
        consumer::reset(&*client, &name(), Place::Beginning).await.unwrap();
    }
    soon("all events once more", async {
        while resource.repeated() < 20 {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;
    put_and_wait(&store, &resource, 1).await;
    a.stop().await;
    assert_eq!(resource.refused(), 0);
}

pub async fn a_group_of_everything_is_not_given_its_own_keys(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let spec = Spec::new(name(), prefix("")).flush(POLL);
    let a = run(member(&gate, "a", spec.clone(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    let b = run(member(&gate, "b", spec, &resource));
    until_shared(&store, &[("a", 4), ("b", 4)]).await;
    put_and_wait(&store, &resource, 1).await;
    b.stop().await;
    until_shared(&store, &[("a", 8)]).await;
    a.stop().await;
    let keys = store.keys(crate::probe::list("goku:consumers/")).await;
    assert_eq!(keys, ["goku:consumers/group/g/settings"]);
    assert_eq!(resource.violations(&store.log("k").await), [""; 0]);
}

pub async fn members_beyond_the_partitions_wait(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let of_one = |label| member(&gate, label, spec(), &resource).partitions(1);
    let a = run(of_one("a"));
    until_shared(&store, &[("a", 1)]).await;
    let b = run(of_one("b"));
    until_shared(&store, &[("a", 1), ("b", 0)]).await;
    put_and_wait(&store, &resource, 1).await;
    a.stop().await;
    until_shared(&store, &[("b", 1)]).await;
    put_and_wait(&store, &resource, 1).await;
    b.stop().await;
    let cursors = store.client().list_cursors(CursorsRequest::default()).await.unwrap();
    assert_eq!(cursors.len(), 1);
    assert_eq!(cursors[0].id, CursorId::of(name()));
}

pub async fn a_group_is_repartitioned_and_nothing_is_lost(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let client = store.client();
    let missing = soon("a refusal", consumer::repartition(&*client, &name(), 3)).await;
    assert_eq!(kind(missing), ErrorKind::NotFound);
    let a = run(member(&gate, "a", spec(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    let refused = consumer::repartition(&*client, &name(), 3).await;
    assert_eq!(kind(refused), ErrorKind::ConditionFailed);
    put_and_wait(&store, &resource, 1).await;
    a.stop().await;
    assert_eq!(
        kind(consumer::repartition(&*client, &name(), 0).await),
        ErrorKind::InvalidArgument
    );
    for partitions in [3, 8] {
        consumer::repartition(&*client, &name(), partitions).await.unwrap();
        for key in 0..20 {
            store.put(&format!("k{key}"), "while nobody is there").await;
        }
        let a = run(member(&gate, "a", spec(), &resource).partitions(partitions));
        until_shared(&store, &[("a", partitions as usize)]).await;
        until_applied(&store, &resource).await;
        a.stop().await;
    }
}

pub async fn a_group_without_members_can_be_forgotten(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let client = store.client();
    assert_eq!(kind(consumer::disband(&*client, &name()).await), ErrorKind::NotFound);
    let a = run(member(&gate, "a", spec(), &resource));
    until_shared(&store, &[("a", 8)]).await;
    assert_eq!(
        kind(consumer::disband(&*client, &name()).await),
        ErrorKind::ConditionFailed
    );
    a.stop().await;
    consumer::disband(&*client, &name()).await.unwrap();
    assert_eq!(roster(&*client, &name()).await.unwrap(), None);
    let a = run(member(&gate, "a", spec(), &resource).partitions(2));
    until_shared(&store, &[("a", 2)]).await;
    a.stop().await;
}

pub async fn a_group_that_cannot_be_right_is_refused(store: Probe) {
    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let partition = goku::Partition::new(0, 2).unwrap();
    let refused = [
        member(&gate, "a", spec(), &resource).partitions(0),
        member(&gate, "a", spec(), &resource).partitions(1_025),
        member(&gate, "a", spec(), &resource).ttl(Duration::ZERO),
        member(&gate, &"x".repeat(257), spec(), &resource),
        member(
            &gate,
            "a",
            spec().partition(partition, goku::FencingToken::new(1)),
            &resource,
        ),
        member(&gate, "a", spec().in_flight(0, consumer::Order::PerKey), &resource),
    ];
    for group in refused {
        let refused = soon("a refusal", group.run(std::future::pending())).await;
        assert_eq!(kind(refused), ErrorKind::InvalidArgument);
    }
    assert_eq!(roster(&*store.client(), &name()).await.unwrap(), None);
    assert_eq!(store.keys(crate::probe::list("")).await, Vec::<String>::new());
}

pub async fn a_member_whose_handler_ends_the_run_leaves_at_once(store: Probe) {
    store.put("k", "a").await;
    let client = store.client();
    let group = Group::new(client.clone(), spec(), move |holding: Holding| {
        Consumer::new(client.clone(), holding.spec(), |_: Delivery| async {
            let missing = Error::new(ErrorKind::Config, "there is no mail server");
            Err::<(), Failure>(Halt(missing).into())
        })
    });
    // Nobody waits for the end of its lease: that is far away.
    let group = group.partitions(PARTITIONS).ttl(10 * PATIENCE);
    let ended = soon("the end of the member", group.run(std::future::pending())).await;
    assert_eq!(kind(ended), ErrorKind::Config);
    assert_eq!(group.stats().now().failed, 0);
    let left = roster(&*store.client(), &name()).await.unwrap();
    assert_eq!(left.map(|roster| roster.members), Some(Vec::new()));

    let (gate, resource) = (Gate::before(store.client()), Arc::new(Resource::default()));
    let next = run(member(&gate, "next", spec(), &resource));
    until_applied(&store, &resource).await;
    next.stop().await;
}
