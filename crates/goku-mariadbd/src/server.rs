//! A running server with a folder of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::data::{self, SavedData};
use crate::error::{Error, ErrorKind};
use crate::installation::{Dialect, Installation};
use crate::log::Log;
use crate::port::ReservedPort;
use crate::sandbox::Sandbox;
use crate::{poll, template};

/// A server that accepts a connection and says nothing within this time counts as not ready.
const GREETING_TIMEOUT: Duration = Duration::from_secs(1);

/// What the first byte of a packet's content says when a server greets a client: the version of the protocol.
const PROTOCOL_VERSION: u8 = 10;

/// How a [`Server`] is started.
#[derive(Clone, Debug)]
pub struct Options {
    /// The server's programs; where none are given, those of [`Installation::find`].
    pub installation: Option<Installation>,
    /// Arguments for the server beside the usual ones, over which they win.
    pub arguments: Vec<String>,
    /// A command that runs the server: the first words of a command line that the server's program and its arguments
    /// follow; none where it is run itself. It is run in the server's folder, and has to become the program, as `env`
    /// and `nsenter` do: by its process the server is killed, stopped and waited for.
    pub runner: Vec<String>,
    /// How long a start or a restart may take until the server answers.
    pub start_timeout: Duration,
    /// Whether commits wait until they are on disk. Without, they survive the end of the server, but not that of the
    /// machine: enough for tests, which a slow disk would hold up.
    pub waits_for_disk: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            installation: None,
            arguments: Vec::new(),
            runner: Vec::new(),
            start_timeout: Duration::from_secs(60),
            waits_for_disk: true,
        }
    }
}

/// A MariaDB or MySQL server that belongs to this value: dropping it kills the server and removes its folder.
///
/// Commits are durable, unless the options say otherwise, and every other setting that a test does not name is the
/// server's default. The user `root` has no password. All calls block: at most for the time-out of the options.
#[derive(Debug)]
pub struct Server {
    sandbox: Sandbox,
    installation: Installation,
    options: Options,
    log: Log,
    port: ReservedPort,
    saved: AtomicU32,
}

impl Server {
    /// Starts a server with an empty data folder, and waits until it answers.
    ///
    /// Fails with [`ErrorKind::NotInstalled`] where there is no MariaDB, and with [`ErrorKind::NotReady`] and the end
    /// of the server's log when the server ends or does not answer in time.
    pub fn start(options: Options) -> Result<Self, Error> {
        let installation = match &options.installation {
            Some(installation) => installation.clone(),
            None => Installation::find()?,
        };
        let sandbox = Sandbox::create().map_err(Error::io("cannot make a temporary folder"))?;
        template::copy_to(&sandbox.folder().join("data"), &installation)?;
        fs::create_dir(sandbox.folder().join("tmp"))
            .map_err(Error::io("cannot make the folder for temporary tables"))?;
        let server = Self {
            log: Log::new(sandbox.folder().join("error.log")),
            sandbox,
            installation,
            options,
            port: ReservedPort::find().map_err(Error::io("cannot find a free port"))?,
            saved: AtomicU32::new(0),
        };
        server.restart()?;
        Ok(server)
    }

    /// The port on 127.0.0.1, the same after a restart.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The folder that holds everything of this server, and goes with it.
    pub fn folder(&self) -> &Path {
        self.sandbox.folder()
    }

    /// The server's error log.
    pub fn log(&self) -> &Path {
        self.log.path()
    }

    /// Kills the server as `kill -9` does and waits for its end; its data stays. Does nothing when it was killed.
    pub fn kill(&self) -> Result<(), Error> {
        self.sandbox.kill().map_err(Error::io("cannot kill the server"))
    }

    /// Whether the server runs: it was not killed, and has not ended by itself.
    pub fn is_running(&self) -> Result<bool, Error> {
        match self.sandbox.try_wait() {
            Ok(status) => Ok(status.is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("cannot look at the server's process")(error)),
        }
    }

    /// Starts the server again on the same data and port, after a [`Server::kill`] if it still runs.
    ///
    /// Fails with [`ErrorKind::NotReady`] and the end of the server's log as [`Server::start`] does.
    pub fn restart(&self) -> Result<(), Error> {
        let deadline = self.deadline();
        // Somebody may ask for this very port meanwhile: it will be free again.
        while self.launch(deadline)? == Launch::PortTaken {
            poll::pause();
        }
        Ok(())
    }

    /// Ends the server as a clean shutdown does, and waits for its end. Does nothing when it does not run.
    pub fn shut_down(&self) -> Result<(), Error> {
        let ended = self.sandbox.terminate(self.options.start_timeout);
        ended.map_err(Error::io("cannot shut the server down"))
    }

    /// Copies the data of a server that does not run.
    ///
    /// Fails with [`ErrorKind::Running`] when it does.
    pub fn save_data(&self) -> Result<SavedData, Error> {
        self.must_not_run()?;
        let number = self.saved.fetch_add(1, Ordering::Relaxed);
        let folder = self.folder().join(format!("saved-{number}"));
        data::copy(&self.data(), &folder)?;
        Ok(SavedData { folder })
    }

    /// Puts the data of an earlier time in place of those of now, as a failover to a copy that lags does.
    ///
    /// Fails with [`ErrorKind::Running`] when the server runs.
    pub fn put_back(&self, saved: &SavedData) -> Result<(), Error> {
        self.must_not_run()?;
        data::replace(&self.data(), saved)
    }

    /// Stops the server's process where it stands, with all its connections open. No thread of it runs any more when
    /// this returns.
    ///
    /// Fails with [`ErrorKind::NotRunning`] when it was killed or has ended.
    pub fn pause(&self) -> Result<(), Error> {
        self.sandbox.stop().map_err(not_signalled)
    }

    /// Lets a paused server go on.
    ///
    /// Fails with [`ErrorKind::NotRunning`] when it was killed or has ended.
    pub fn resume(&self) -> Result<(), Error> {
        self.sandbox.resume().map_err(not_signalled)
    }

    fn must_not_run(&self) -> Result<(), Error> {
        if self.is_running()? {
            return Err(Error::new(
                ErrorKind::Running,
                "the data of a server that runs are no copy: kill it or shut it down",
            ));
        }
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.start_timeout
    }

    /// Starts the process and waits until it answers.
    fn launch(&self, deadline: Instant) -> Result<Launch, Error> {
        // The log goes on over restarts, and what an earlier start wrote says nothing about this one.
        let log_start = self.log.len();
        // MySQL does not start beside the lock of a socket that was left by a killed one.
        match fs::remove_file(self.folder().join("socket.lock")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("cannot remove the lock of a socket")(error));
            }
            _ => {}
        }
        let server = words(
            &self.installation,
            &self.sandbox,
            &self.log,
            self.port(),
            &self.arguments(),
        )?;
        let runner = self.options.runner.iter().map(OsString::from);
        self.sandbox
            .spawn(&runner.chain(server).collect::<Vec<_>>(), self.log.path())
            .map_err(Error::io("cannot run the server"))?;
        loop {
            // The socket and not the port: on the port another server may answer.
            if is_greeted(&self.socket()) {
                return Ok(Launch::Ready);
            }
            let ended = self
                .sandbox
                .try_wait()
                .map_err(Error::io("cannot wait for the server"))?;
            let late = Instant::now() >= deadline;
            let why = match ended {
                Some(_) if !late && self.log.has_since(log_start, "Address already in use") => {
                    return Ok(Launch::PortTaken);
                }
                Some(status) => format!("the server ended ({status})"),
                None if late => format!("the server did not answer within {:?}", self.options.start_timeout),
                None => {
                    poll::pause();
                    continue;
                }
            };
            self.kill()?;
            return Err(Error::new(
                ErrorKind::NotReady,
                format!("{why}; the end of its log:\n{}", self.log.end_since(log_start)),
            ));
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder().join("socket")
    }

    fn arguments(&self) -> Vec<String> {
        let unsynced = (!self.options.waits_for_disk).then(|| "--innodb-flush-method=nosync".to_owned());
        unsynced
            .into_iter()
            .chain(self.options.arguments.iter().cloned())
            .collect()
    }
}

#[derive(PartialEq, Eq)]
enum Launch {
    Ready,
    PortTaken,
}

/// The words of a command line that runs a server in a sandbox, with these arguments beside the usual ones.
pub(crate) fn words(
    installation: &Installation,
    sandbox: &Sandbox,
    log: &Log,
    port: u16,
    own: &[String],
) -> Result<Vec<OsString>, Error> {
    let file = |name: &str| sandbox.folder().join(name).display().to_string();
    let mut arguments = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", file("data")),
        format!("--tmpdir={}", file("tmp")),
        format!("--socket={}", file("socket")),
        format!("--pid-file={}", file("pid")),
        format!("--log-error={}", log.path().display()),
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        "--max-connections=500".to_owned(),
        installation.log_size().to_owned(),
        "--innodb-buffer-pool-size=64M".to_owned(),
    ];
    let of_dialect: &[&str] = match installation.dialect() {
        Dialect::MariaDb => &["--skip-name-resolve"],
        // Its `root` is that of `localhost`, which the address has to be resolved to.
        Dialect::MySql => &["--mysqlx=OFF", "--secure-file-priv=NULL", "--performance-schema=OFF"],
    };
    arguments.extend(of_dialect.iter().map(|argument| (*argument).to_owned()));
    arguments.extend(installation.places().iter().cloned());
    arguments.extend(Installation::user_argument(sandbox)?);
    arguments.extend(own.iter().cloned());
    let arguments = arguments.into_iter().map(OsString::from);
    Ok(installation.words().into_iter().chain(arguments).collect())
}

pub(crate) fn not_signalled(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        Error::new(ErrorKind::NotRunning, "the server does not run")
    } else {
        Error::io("cannot send a signal to the server")(error)
    }
}

fn is_greeted(socket: &Path) -> bool {
    let greeting = || -> io::Result<u8> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(GREETING_TIMEOUT))?;
        let mut packet = [0; 5];
        stream.read_exact(&mut packet)?;
        Ok(packet[4])
    };
    greeting().is_ok_and(|version| version == PROTOCOL_VERSION)
}
