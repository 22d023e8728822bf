//! A consumer whose effects and cursor are in one transaction of its own SQLite database: kill it whenever you like, each
//! event is counted exactly once.
//!
//! `cargo run --example exactly_once -- FOLDER` sets ten keys, and counts the events of all runs on this folder.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use goku::consumer::sqlite::{SqliteTransactions, rusqlite};
use goku::consumer::{Batch, Consumer, CursorStore, Spec};
use goku::{Client, ConsumerName, CursorId, Engine, Key, Prefix, SetRequest};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let engine = Arc::new(Engine::open(&format!("sqlite:{}", folder.join("goku.db").display())).await?);
    for number in 0..10 {
        engine
            .set(SetRequest::new(Key::new(format!("orders/{number}"))?, "paid"))
            .await?;
    }
    let head = engine.status().await?.head;

    let own = folder.join("own.db");
    let connection = rusqlite::Connection::open(&own)?;
    connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
    connection.execute("create table if not exists counter (orders integer not null)", [])?;
    connection.execute(
        "insert into counter select 0 where not exists (select 1 from counter)",
        [],
    )?;
    let once = SqliteTransactions::new(connection, |transaction, _delivery| {
        transaction.execute("update counter set orders = orders + 1", [])?;
        Ok(())
    })?;

    let name = ConsumerName::new("counter")?;
    let spec = Spec::new(name.clone(), Prefix::new("orders/")?);
    let consumer = Consumer::exactly_once(engine.clone(), spec, Batch::new(100, Duration::from_millis(10)), once);

    // Another connection looks how far it is.
    let watching = SqliteTransactions::new(rusqlite::Connection::open(&own)?, |_, _| Ok(()))?;
    let until_done = async {
        loop {
            let cursor = watching.load(&CursorId::of(name.clone())).await;
            if cursor.is_ok_and(|cursor| cursor.is_some_and(|cursor| cursor.at == head)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    consumer.run(until_done).await?;

    let orders: i64 =
        rusqlite::Connection::open(&own)?.query_row("select orders from counter", [], |row| row.get(0))?;
    println!("{orders} orders were counted, of {} events", head.position.id);
    engine.close().await;
    Ok(())
}
