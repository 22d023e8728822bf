//! Members whose effects are in a database of the user's own, where each commits together with the cursor: the process that
//! such a member is, the database, and what is found there.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use goku::consumer::mysql::mysql_async::prelude::Queryable;
use goku::consumer::mysql::mysql_async::{self, Pool};
use goku::consumer::mysql::{MySqlTransactions, TABLE};
use goku::consumer::{Batch, Consumer, Group, Holding, Order, Spec};
use goku::{Client, ConsumerName, Event, Partition, Prefix};
use goku_grpc::GrpcClient;
use goku_testkit::{Effect, PrivateDatabase, Proxy, Random, Resource};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::stubborn::Stubborn;
use super::{NAME, PARTITIONS, PREFIX, effect};
use crate::cluster;
use crate::fault;
use crate::options::Options;

/// The variable with the URL of the user's database. Where it is set, this program is a member.
pub(crate) const DATABASE: &str = "GOKU_CHAOS_OWN";

/// Those with the servers, and with the time to live of the member's lease in milliseconds.
const ENDPOINTS: &str = "GOKU_CHAOS_ENDPOINTS";
const TTL: &str = "GOKU_CHAOS_TTL";

/// Events in a transaction, and how long one waits for more.
const BATCH: usize = 4;
const BATCH_WAIT: Duration = Duration::from_millis(5);

/// How long a database that is away is left alone.
const PAUSE: Duration = Duration::from_millis(100);

/// A row for each effect, in the order of a partition's transactions: they lock its cursor first.
const EFFECTS: &str = "create table effects (
    place bigint auto_increment primary key,
    event bigint not null,
    name varchar(255) not null,
    part int unsigned not null,
    token bigint unsigned not null,
    holder varchar(255) not null
)";

/// A server with a database of the user's own, and what stands between it and the members.
pub(super) struct Own {
    server: PrivateDatabase,
    proxy: Proxy,
    /// Around what stands between.
    direct: Pool,
}

impl Own {
    pub(super) async fn start(options: &Options) -> Own {
        let server = cluster::start_server(options, None).await;
        let proxy = Proxy::before(&server.url()).await;
        let direct = Pool::new(server.url().as_str());
        direct.get_conn().await.unwrap().query_drop(EFFECTS).await.unwrap();
        Own { server, proxy, direct }
    }

    /// A member of this label.
    pub(super) fn member(&self, endpoints: &str, ttl: Duration) -> impl Fn(&str) -> Command + Send + Sync + use<> {
        let variables = [
            (DATABASE, self.proxy.url().to_owned()),
            (ENDPOINTS, endpoints.to_owned()),
            (TTL, ttl.as_millis().to_string()),
        ];
        move |label| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.envs(variables.iter().cloned()).env(effect::HOLDER, label);
            command
        }
    }

    /// A fault of the user's database, from its beginning to its end; answers with which.
    pub(super) async fn inject(&self, random: &mut Random) -> fault::Kind {
        let kind = *random.choose(&fault::ON_OWN);
        fault::inject_into(kind, &self.server, &self.proxy, random).await;
        kind
    }

    /// How many effects there are; none while the database cannot be asked.
    pub(super) async fn applied(&self) -> Option<usize> {
        let counted = async {
            let mut connection = self.direct.get_conn().await?;
            connection.query_first("select count(*) from effects").await
        };
        counted.await.ok().flatten()
    }

    /// What is not as it is promised: each event has one effect, in the order of its key, none of them by an older holder.
    pub(super) async fn violations(&self, log: &[Event]) -> Vec<String> {
        let resource = Resource::default();
        let select = "select part, token, holder, name, event from effects order by place";
        let mut connection = self.direct.get_conn().await.unwrap();
        let rows: Vec<(u32, u64, String, String, i64)> = connection.query(select).await.unwrap();
        let mut violations = Vec::new();
        for (partition, token, holder, key, event) in rows {
            let repeated = resource.repeated();
            let effect = Effect {
                partition,
                token,
                holder,
                key,
                event,
            };
            if !resource.apply(effect.clone()) {
                violations.push(format!("an older holder's effect was committed: {effect:?}"));
            }
            if resource.repeated() > repeated {
                violations.push(format!("an effect was committed again, or late: {effect:?}"));
            }
        }
        violations.extend(resource.violations(log));
        violations
    }
}

/// Is a member until it is asked to end.
#[tokio::main]
pub(crate) async fn member(database: &str) -> ExitCode {
    let mut terminated = signal(SignalKind::terminate()).unwrap();
    let until_asked = async {
        terminated.recv().await;
    };
    match consume(database, until_asked).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the member cannot go on: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn consume(
    database: &str,
    until_asked: impl Future<Output = ()>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let holder = std::env::var(effect::HOLDER)?;
    let ttl = Duration::from_millis(std::env::var(TTL)?.parse()?);
    let endpoints: Vec<String> = std::env::var(ENDPOINTS)?.split(',').map(str::to_owned).collect();
    let client: Arc<dyn Client> = Arc::new(GrpcClient::connect_all(endpoints)?);
    let mut until_asked = std::pin::pin!(until_asked);
    let pool = Pool::new(database);
    let stubborn = Arc::new(Stubborn::default());
    let once = loop {
        let (label, stubborn) = (holder.clone(), stubborn.clone());
        let made = MySqlTransactions::new(pool.clone(), move |transaction, delivery| {
            let (holder, fails) = (label.clone(), stubborn.fails(delivery.id().get()));
            Box::pin(async move {
                if fails {
                    return Err("as it was told to".into());
                }
                let partition = Partition::of(delivery.key(), PARTITIONS)?.number();
                // The cursor has moved already, by the token of this holder.
                let effect = format!(
                    "insert into effects (event, name, part, token, holder) \
                     select ?, ?, part, token, ? from {TABLE} where consumer = ? and part = ?"
                );
                let row = (
                    delivery.id().get(),
                    delivery.key().to_string(),
                    &holder,
                    NAME,
                    partition,
                );
                transaction.exec_drop(effect, row).await?;
                match transaction.affected_rows() {
                    1 => Ok(()),
                    _ => Err("there is no cursor".into()),
                }
            })
        });
        match made.await {
            Ok(once) => break Arc::new(once),
            Err(error) => eprintln!("the database is waited for: {error}"),
        }
        tokio::select! {
            () = &mut until_asked => return Ok(()),
            () = sleep(PAUSE) => {}
        }
    };
    let spec = Spec::new(ConsumerName::new(NAME)?, Prefix::new(PREFIX)?).in_flight(2, Order::PerKey);
    let own = client.clone();
    let group = Group::new(client, spec, move |holding: Holding| {
        Consumer::exactly_once(own.clone(), holding.spec(), Batch::new(BATCH, BATCH_WAIT), once.clone())
    });
    let group = group.partitions(PARTITIONS).ttl(ttl).label(holder);
    group.run(until_asked).await?;
    Ok::<_, mysql_async::Error>(pool.disconnect().await?)?;
    Ok(())
}
