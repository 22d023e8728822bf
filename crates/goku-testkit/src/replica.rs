//! A replica: a `goku serve` process on a port that stays.

use std::net::Ipv4Addr;
use std::ops::Deref;
use std::path::Path;
use std::time::Duration;

use goku_mariadbd::ReservedPort;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

use crate::probe::soon;
use crate::process::Process;

/// How often what is waited for is looked at.
const POLL: Duration = Duration::from_millis(5);

/// A `goku serve` on a port of its own, which is started, stopped and killed as its [`Process`]; it ends with this value.
pub struct Replica {
    process: Process,
    port: ReservedPort,
}

impl Replica {
    /// Starts the program `goku` as a replica on a store; what it logs goes into a file. It may not listen yet.
    pub async fn start(program: &Path, store: &str, log: &Path) -> Replica {
        Replica::start_in(program, store, log, Vec::new()).await
    }

    /// As [`start`](Self::start), with more in its environment.
    pub async fn start_in(program: &Path, store: &str, log: &Path, environment: Vec<(String, String)>) -> Replica {
        let replica = Replica::stopped(program, store, log, environment);
        replica.run().await;
        replica
    }

    /// A replica that does not run yet; nobody else is given its port.
    pub fn stopped(program: &Path, store: &str, log: &Path, environment: Vec<(String, String)>) -> Replica {
        let port = ReservedPort::find().unwrap();
        let listen = format!("127.0.0.1:{}", port.number());
        let (program, store) = (program.to_owned(), store.to_owned());
        let command = move || {
            let mut command = Command::new(&program);
            command.args(["serve", "--listen", &listen]);
            command.env("GOKU_STORE", &store).envs(environment.iter().cloned());
            command
        };
        Replica {
            process: Process::new(command, log),
            port,
        }
    }

    /// The URL of its server.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// Waits until it takes connections.
    pub async fn ready(&self) {
        soon("a replica that listens", async {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port.number()))
                .await
                .is_err()
            {
                sleep(POLL).await;
            }
        })
        .await;
    }
}

impl Deref for Replica {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}
