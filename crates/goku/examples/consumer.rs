//! A consumer: it greets every user, once and in order, and goes on where it stopped.
//!
//! `cargo run --example consumer` keeps everything in memory. With a file, `cargo run --example consumer -- sqlite:users.db`,
//! a second run greets only the user that it adds.

use std::sync::Arc;
use std::time::Duration;

use goku::consumer::{Consumer, Delivery, Failure, OnFailure, Spec, dead_letters};
use goku::{Client, ConsumerName, Engine, Key, Prefix, SetRequest};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> goku::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite::memory:".to_owned());
    let engine = Arc::new(Engine::open(&url).await?);
    let users = engine.status().await?.keys;
    for name in ["Ada", "Grace", "nobody"] {
        let key = Key::new(format!("users/{}-{name}", users + 1))?;
        engine.set(SetRequest::new(key, name)).await?;
    }

    // One that cannot be greeted is kept as a dead letter after three attempts.
    let name = ConsumerName::new("greeter")?;
    let spec = Spec::new(name.clone(), Prefix::new("users/")?).on_failure(OnFailure::DeadLetter { attempts: 3 });
    let (done, mut quiet) = mpsc::unbounded_channel();
    let greeter = Consumer::new(engine.clone(), spec, move |delivery: Delivery| {
        let done = done.clone();
        async move {
            let user = String::from_utf8_lossy(delivery.inline_value()?.ok_or("the user is gone")?).into_owned();
            if user == "nobody" {
                return Err::<_, Failure>("nobody is there".into());
            }
            println!("hello, {user} (event {})", delivery.id());
            done.send(())?;
            Ok(())
        }
    });

    // A service would run until it is told to stop; this ends when there is nothing to do for a while.
    let until_quiet = async { while tokio::time::timeout(Duration::from_secs(1), quiet.recv()).await.is_ok() {} };
    greeter.run(until_quiet).await?;

    for letter in dead_letters(&*engine, &name).await? {
        println!(
            "dead: {} after {} attempts: {}",
            letter.delivery.key(),
            letter.attempts,
            letter.error
        );
    }
    println!("counted: {:?}", greeter.stats().now());
    engine.close().await;
    Ok(())
}
