//! An effect on a resource outside of goku: what the command of a member does, and what answers it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use goku_testkit::{Effect, Random, Resource};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio_util::task::AbortOnDropHandle;

use super::stubborn::Stubborn;

/// The variable with the socket of the resource. Where it is set, this program is the command of a member.
pub(crate) const SOCKET: &str = "GOKU_CHAOS_RESOURCE";

/// The variable with the name of the member.
pub(crate) const HOLDER: &str = "GOKU_CHAOS_HOLDER";

/// The socket's name.
const FILE: &str = "resource";

/// One effect of so many is on its way for longer than others.
const LATE_ONE_IN: u64 = 40;

/// How long such a one may be on its way: longer than members stand still, so that some come from older holders.
const LATE_MAX: Duration = Duration::from_secs(6);

/// What the command of a member does: tells the resource of the event, and acknowledges it where that takes it.
pub(crate) fn send(socket: &Path) -> ExitCode {
    match ask(socket) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(3),
        Err(error) => {
            eprintln!("the resource cannot be told: {error}");
            ExitCode::FAILURE
        }
    }
}

fn ask(socket: &Path) -> Result<bool, Box<dyn std::error::Error>> {
    let mut event = String::new();
    std::io::stdin().read_to_string(&mut event)?;
    let event: Value = serde_json::from_str(&event)?;
    let key = event["key"].as_str().ok_or("an event has a key")?;
    let id = event["id"].as_i64().ok_or("an event has an id")?;
    let variable = |name: &str| std::env::var(name);
    let (partition, token, holder) = (variable("GOKU_PARTITION")?, variable("GOKU_TOKEN")?, variable(HOLDER)?);
    let mut stream = UnixStream::connect(socket)?;
    writeln!(stream, "{partition} {token} {holder} {id} {key}")?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end() == "done")
}

/// Takes effects for a resource, on a socket.
pub(crate) struct Effects {
    /// With a path that is short enough for a socket's.
    folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl Effects {
    pub(crate) async fn serve(resource: Arc<Resource>, mut random: Random) -> Effects {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join(FILE)).unwrap();
        let stubborn = Arc::new(Stubborn::default());
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (resource, stubborn) = (resource.clone(), stubborn.clone());
                let late = if random.one_in(LATE_ONE_IN) {
                    random.between(Duration::ZERO, LATE_MAX)
                } else {
                    Duration::ZERO
                };
                tokio::spawn(async move {
                    let (reading, mut writing) = stream.into_split();
                    let mut lines = tokio::io::BufReader::new(reading).lines();
                    if let Ok(Some(line)) = lines.next_line().await {
                        tokio::time::sleep(late).await;
                        let effect = read(&line);
                        let answer = if stubborn.fails(effect.event) {
                            "failed\n"
                        } else if resource.apply(effect) {
                            "done\n"
                        } else {
                            "refused\n"
                        };
                        // Who asked may be gone.
                        drop(writing.write_all(answer.as_bytes()).await);
                    }
                });
            }
        });
        Effects {
            folder,
            _serving: AbortOnDropHandle::new(serving),
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join(FILE)
    }
}

fn read(line: &str) -> Effect {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    let [partition, token, holder, event, key] = words.try_into().unwrap();
    Effect {
        partition: partition.parse().unwrap(),
        token: token.parse().unwrap(),
        holder: holder.to_owned(),
        key: key.to_owned(),
        event: event.parse().unwrap(),
    }
}
