//! Sets, gets, lists, watches and leases on a running server: `goku serve`, then `cargo run --example client`.
//!
//! The server is that of GOKU_ENDPOINT, or http://127.0.0.1:4658.

use std::time::Duration;

use futures::StreamExt;
use goku::{
    Client, Condition, Error, Expiry, Key, LeaseRequest, ListRequest, Prefix, SetRequest, StreamFrom, StreamItem,
    StreamRequest,
};
use goku_grpc::GrpcClient;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("GOKU_ENDPOINT").unwrap_or_else(|_| "http://127.0.0.1:4658".to_owned());
    let client = GrpcClient::connect(&endpoint)?;
    let status = client.status().await?;
    println!("{endpoint}: goku {} on {}", status.version, status.database);

    let greeting = Key::new("example/greeting")?;
    let set = client.set(SetRequest::new(greeting.clone(), "hello")).await?;
    println!("set {greeting}: version {}, event {}", set.version, set.updated_ref);
    let entry = client.get(&greeting).await?;
    println!("got {greeting}: {:?}", entry.value);

    // A write that is done only where nobody else wrote in between.
    let guarded = SetRequest::new(greeting.clone(), "hello again").condition(Condition::Version(entry.version));
    let guarded = client.set(guarded).await?;
    println!("set {greeting}: version {}", guarded.version);

    // All keys of a prefix at one point in history; what happens after it is streamed from there.
    let prefix = Prefix::new("example/")?;
    let mut listing = client.list(ListRequest::new(prefix.clone())).await?;
    let listed_at = listing.at().position;
    while let Some(entry) = listing.next().await {
        let entry = entry?;
        println!("listed {}: {:?}", entry.key, entry.value);
    }

    // A key that vanishes by itself.
    let lease = client
        .lease(LeaseRequest::Grant(Expiry::After(Duration::from_millis(300))))
        .await?;
    let session = SetRequest::new(Key::new("example/session")?, "here")
        .lease(lease.id)
        .expiry(Expiry::Keep);
    client.set(session).await?;
    println!("leased example/session for {:?}", lease.remaining().unwrap_or_default());

    // The set of the session, and its end.
    let stream = StreamRequest::new(prefix).from(StreamFrom::Resume(listed_at));
    let mut events = client.stream(stream).await?.take(2);
    while let Some(item) = events.next().await {
        if let StreamItem::Event(event) = item? {
            println!("event {}: {} {}", event.id, event.event_type.name(), event.key);
        }
    }
    Ok(())
}
