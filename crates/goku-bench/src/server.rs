//! A system that is served over gRPC by a process of its own.

use std::process::Stdio;

use goku::gate::Gate;
use goku_grpc::ServerOptions;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, Command};

use crate::Outcome;
use crate::system::System;

/// The process that serves. It ends when this value is dropped, or this process ends.
pub(crate) struct ServerProcess {
    child: Child,
    _stdin: ChildStdin,
    port: u16,
}

impl ServerProcess {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(system: System, url: Option<&str>) -> Outcome<ServerProcess> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(system.argument());
        if let Some(url) = url {
            command.args(["--url", url]);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a server has no standard input or output".into());
        };
        let port = BufReader::new(stdout).lines().next_line().await?;
        let port = port.ok_or_else(|| format!("the server of {} ended before it listened", system.name()))?;
        Ok(ServerProcess {
            child,
            _stdin: stdin,
            port: port.parse()?,
        })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> Outcome<u32> {
        Ok(self.child.id().ok_or("a server has ended")?)
    }
}

/// What that process does: serves until its standard input ends.
pub(crate) async fn serve(system: System, url: Option<&str>) -> Outcome<()> {
    let client = system.open(url).await?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?.port());
    let stdin_ends = async {
        // Whatever comes is as good as the end.
        drop(tokio::io::stdin().read(&mut [0]).await);
    };
    goku_grpc::serve(listener, Gate::unguarded(client), ServerOptions::default(), stdin_ends).await?;
    Ok(())
}
