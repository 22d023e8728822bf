//! A group: three members share the events of one consumer by their keys; one leaves, one dies, and the others go on.
//!
//! `cargo run --example group` runs all of them in one process. Usually each is a process of its own, anywhere.

use std::sync::Arc;
use std::time::Duration;

use goku::consumer::{Consumer, Delivery, Failure, Group, Holding, Roster, Spec, roster};
use goku::{Client, ConsumerName, Engine, Key, Prefix, Result, SetRequest};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

const PARTITIONS: u32 = 6;

#[tokio::main]
async fn main() -> Result<()> {
    let engine = Arc::new(Engine::open("sqlite::memory:").await?);
    let name = ConsumerName::new("billing")?;
    let (done, mut handled) = mpsc::unbounded_channel();
    let [ada, grace, edsger] = ["Ada", "Grace", "Edsger"].map(|member| start(&engine, &name, member, done.clone()));
    until(&engine, &name, 3).await?;
    order(&engine, &mut handled).await?;

    println!("\nGrace leaves: she finishes what she is at, and the others have her partitions at once");
    drop(grace.stop);
    grace.ended.await.map_err(failed)??;
    until(&engine, &name, 2).await?;
    order(&engine, &mut handled).await?;

    println!("\nEdsger dies: when his lease has ended, Ada has all partitions");
    edsger.ended.abort();
    until(&engine, &name, 1).await?;
    order(&engine, &mut handled).await?;

    drop(ada.stop);
    ada.ended.await.map_err(failed)??;
    engine.close().await;
    Ok(())
}

struct Running {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<()>>,
}

/// Starts a member.
fn start(engine: &Arc<Engine>, name: &ConsumerName, member: &'static str, done: mpsc::UnboundedSender<Key>) -> Running {
    let (engine, name) = (engine.clone(), name.clone());
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(async move {
        let spec = Spec::new(name, Prefix::new("orders/")?);
        let client = engine.clone();
        let group = Group::new(engine, spec, move |holding: Holding| {
            let (partition, token) = (holding.partition(), holding.token());
            let done = done.clone();
            Consumer::new(client.clone(), holding.spec(), move |delivery: Delivery| {
                let done = done.clone();
                async move {
                    // The bill carries the token: who keeps the bills refuses those of an older holder of the partition.
                    println!(
                        "{member} bills {} (partition {partition}, token {token})",
                        delivery.key()
                    );
                    done.send(delivery.key().clone())?;
                    Ok::<_, Failure>(())
                }
            })
        });
        let group = group.partitions(PARTITIONS).label(member).ttl(Duration::from_secs(1));
        group.run(async { drop(stopped.await) }).await
    });
    Running { stop, ended }
}

/// Waits until so many members share all partitions, and tells who has which.
async fn until(engine: &Engine, name: &ConsumerName, members: usize) -> Result<()> {
    let is_shared = |roster: &Roster| {
        let held: usize = roster.members.iter().map(|member| member.partitions.len()).sum();
        let share = PARTITIONS as usize / members;
        let is_even = roster.members.iter().all(|member| member.partitions.len() == share);
        roster.members.len() == members && held == PARTITIONS as usize && is_even
    };
    let shared = loop {
        match roster(engine, name).await? {
            Some(roster) if is_shared(&roster) => break roster,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    for member in shared.members {
        let partitions: Vec<_> = member.partitions.iter().map(|(partition, _)| partition).collect();
        println!("{} holds {partitions:?}", member.label);
    }
    Ok(())
}

/// Makes orders, and waits until all are billed.
async fn order(engine: &Engine, handled: &mut mpsc::UnboundedReceiver<Key>) -> Result<()> {
    let mut open = Vec::new();
    for number in 1..=6 {
        let key = Key::new(format!("orders/{number}"))?;
        engine.set(SetRequest::new(key.clone(), "paid")).await?;
        open.push(key);
    }
    while !open.is_empty() {
        match handled.recv().await {
            Some(billed) => open.retain(|key| *key != billed),
            None => break,
        }
    }
    Ok(())
}

fn failed(error: tokio::task::JoinError) -> goku::Error {
    goku::Error::new(goku::ErrorKind::Internal, "a member failed").with_source(error)
}
