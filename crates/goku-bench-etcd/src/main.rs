//! Puts the loads of goku's benchmark on an etcd, by the load generator that goku is measured with.
//!
//! `goku-bench-etcd ENDPOINT CONNECTIONS` reads orders from standard input and answers on standard output, one JSON
//! object a line each, until standard input ends. A call of a load is one of etcd's: a Set is a put, a Get a
//! linearizable get of one key.

mod etcd;
mod order;

use std::error::Error;
use std::sync::Arc;

use goku::{Client, Prefix};
use goku_load::{Monitor, Partial, Target};
use tokio::io::{AsyncBufReadExt, BufReader, stdin};

use crate::etcd::Etcd;
use crate::order::{Order, Report};

/// The allocator of goku's own programs: what is compared differs in nothing else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, connections] = &arguments[..] else {
        return Err("usage: goku-bench-etcd ENDPOINT CONNECTIONS".into());
    };
    let mut clients: Vec<Arc<dyn Client>> = Vec::new();
    for _ in 0..connections.parse()? {
        clients.push(Arc::new(Partial(Etcd::connect(endpoint).await?)));
    }
    let mut sets = Target::new(clients.clone(), Prefix::new("/bench/")?)?;
    let mut gets = Target::new(clients, Prefix::new("/get/")?)?;
    let mut orders = BufReader::new(stdin()).lines();
    while let Some(line) = orders.next_line().await? {
        let load = serde_json::from_str::<Order>(&line)?.load()?;
        let target = if load.workload.reads_keys() {
            &mut gets
        } else {
            &mut sets
        };
        let monitor = Monitor::default();
        target.prepare(&load, &monitor).await?;
        let measured = target.run(&load, &monitor).await?;
        println!("{}", serde_json::to_string(&Report::new(&measured))?);
    }
    Ok(())
}
