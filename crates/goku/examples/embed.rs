//! goku inside a program: set, read, list, watch, and a lease that ends.
//!
//! `cargo run --example embed` keeps everything in memory; give a URL to keep it elsewhere, such as
//! `cargo run --example embed -- sqlite:embed.db`.

use std::time::Duration;

use futures::StreamExt;
use goku::{
    Client, Compare, Condition, Engine, ErrorKind, Key, ListRequest, Operation, Prefix, SetRequest, StreamFrom,
    StreamItem, StreamRequest, Txn,
};

#[tokio::main]
async fn main() -> goku::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite::memory:".to_owned());
    let engine = Engine::open(&url).await?;

    let motd = Key::new("config/motd")?;
    let first = engine.set(SetRequest::new(motd.clone(), "hello")).await?;
    println!("{motd} has version {}", first.version);

    // Only if nobody changed it meanwhile.
    let update = SetRequest::new(motd.clone(), "hello, world").condition(Condition::Version(first.version));
    engine.set(update.clone()).await?;
    match engine.set(update).await {
        Err(error) if error.kind() == ErrorKind::ConditionFailed => println!("the second time: {error}"),
        other => println!("unexpected: {other:?}"),
    }

    // A list, and a stream that goes on exactly where the list stood.
    let prefix = Prefix::new("config/")?;
    let mut listing = engine.list(ListRequest::new(prefix.clone())).await?;
    let at = listing.at().position;
    while let Some(entry) = listing.next().await {
        let entry = entry?;
        println!("{} = {}", entry.key, String::from_utf8_lossy(entry.inline_value()?));
    }
    let mut events = engine
        .stream(StreamRequest::new(prefix).from(StreamFrom::Resume(at)))
        .await?;

    // Two keys at once, if neither exists; they vanish with the lease of the first.
    let (host, port) = (Key::new("config/host")?, Key::new("config/port")?);
    let txn = Txn {
        compare: vec![Compare::absent(host.clone()), Compare::absent(port.clone())],
        then: vec![
            Operation::Set(SetRequest::new(host, "127.0.0.1").ttl(Duration::from_millis(200))),
            Operation::Set(SetRequest::new(port, "4658")),
        ],
        otherwise: vec![],
    };
    println!("transaction applied: {}", engine.txn(txn).await?.succeeded);

    for _ in 0..3 {
        if let Some(StreamItem::Event(event)) = events.next().await.transpose()? {
            println!("event {}: {} {}", event.id, event.event_type.name(), event.key);
        }
    }
    engine.close().await;
    Ok(())
}
