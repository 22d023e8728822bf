//! A running Galera cluster: MariaDB servers that all take writes and agree on their order.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::data;
use crate::error::{Error, ErrorKind};
use crate::installation::Installation;
use crate::log::Log;
use crate::sandbox::Sandbox;
use crate::server::words;
use crate::{poll, template};

/// Where Debian's package `galera-4` has the library by which servers make a cluster, below the root or a folder that
/// the package was unpacked into.
const LIBRARY: &str = "usr/lib/galera/libgalera_smm.so";

/// What a server logs once it has all that the cluster has.
const SYNCED: &str = "Synchronized with group, ready for connections";

/// What a server logs of the last transaction that it has on disk.
const RECOVERED: &str = "Recovered position: ";

/// By this file a server knows how far it came before it was shut down, and whether it may begin a cluster anew.
const STATE_FILE: &str = "grastate.dat";

/// The cluster that a server was in when it was killed; a server that begins one anew must not wait for that.
const VIEW_FILE: &str = "gvwstate.dat";

/// What the servers keep for those that come back; made anew where it is not there.
const CACHE_FILE: &str = "galera.cache";

/// How a server gets all data from another one: the folders are on one machine, so they are copied.
const STATE_TRANSFER: &str = include_str!("galera/wsrep_sst_goku_copy.sh");
const STATE_TRANSFER_METHOD: &str = "goku_copy";

/// How long a node that has nothing to write takes to end at most; it takes a second or two.
const TEMPLATE_SHUTDOWN_MAX: Duration = Duration::from_secs(20);

/// Others may take a port between the moment that it was found free and that it is used.
const START_ATTEMPTS_MAX: usize = 3;

/// The data folder of a node that was shut down: from copies of it a cluster starts without any transfer.
static TEMPLATE: Mutex<Option<Sandbox>> = Mutex::new(None);

/// How a [`Galera`] is started.
#[derive(Clone, Debug)]
pub struct GaleraOptions {
    /// How many servers.
    pub nodes: usize,
    /// Galera's library.
    pub library: PathBuf,
    /// Arguments for the servers beside the usual ones, over which they win.
    pub arguments: Vec<String>,
    /// Options of the library beside the usual ones, as `name=value`.
    pub provider_options: Vec<String>,
    /// How long a start or a restart may take until all servers are in the cluster.
    pub start_timeout: Duration,
}

impl GaleraOptions {
    /// A cluster of three servers with the settings that Galera has by itself.
    ///
    /// The library is that of the machine, or of the package `galera-4` that was unpacked into `folder`. Fails with
    /// [`ErrorKind::NotInstalled`] where there is neither, or no MariaDB.
    pub fn find(folder: &Path) -> Result<Self, Error> {
        Installation::find()?;
        let places = [Path::new("/").join(LIBRARY), folder.join(LIBRARY)];
        let library = places.into_iter().find(|place| place.exists()).ok_or_else(|| {
            Error::new(
                ErrorKind::NotInstalled,
                format!(
                    "Galera's library is neither in /{LIBRARY} nor in {}: `cargo xtask engines` installs or unpacks it, \
                     or `apt-get install galera-4` does",
                    folder.display()
                ),
            )
        })?;
        Ok(Self {
            nodes: 3,
            library,
            arguments: Vec::new(),
            provider_options: Vec::new(),
            start_timeout: Duration::from_secs(60),
        })
    }

    /// The same, but that a node which is gone is missed after 1.5 s instead of 5 s; less than that, and nodes miss
    /// each other while they agree on who is there.
    pub fn impatient(mut self) -> Self {
        let options = [
            "evs.keepalive_period=PT0.3S",
            "evs.inactive_check_period=PT0.2S",
            "evs.join_retrans_period=PT0.3S",
            "evs.suspect_timeout=PT1.5S",
            "evs.inactive_timeout=PT4S",
            "evs.install_timeout=PT4S",
        ];
        self.provider_options.extend(options.map(str::to_owned));
        self
    }
}

/// A cluster that belongs to this value: dropping it kills the servers and removes their folders.
///
/// Each server has a user `root` without a password. Nodes are numbered from 0. All calls block: at most for the
/// time-out of the options.
#[derive(Debug)]
pub struct Galera {
    installation: Installation,
    options: GaleraOptions,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    sandbox: Sandbox,
    log: Log,
    ports: Ports,
}

/// On the loopback address.
#[derive(Clone, Copy, Debug)]
struct Ports {
    clients: u16,
    group: u16,
    transfer: u16,
}

/// How a node comes into the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// It begins the cluster.
    Begin,
    /// It finds the others.
    Join,
}

impl Galera {
    /// Starts a cluster with empty data folders, and waits until all nodes are in it.
    ///
    /// Fails with [`ErrorKind::NotReady`] and the end of a server's log when that ends or does not come into the
    /// cluster in time.
    pub fn start(options: GaleraOptions) -> Result<Self, Error> {
        let installation = Installation::find()?;
        let mut attempt = 1;
        loop {
            let cluster = Self::prepare(&installation, &options)?;
            match cluster.begin(0) {
                Ok(()) => return Ok(cluster),
                Err(error) if attempt == START_ATTEMPTS_MAX || !cluster.lost_a_port() => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// How many nodes there are, running or not.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The port for clients of a node on 127.0.0.1, the same after a restart.
    pub fn port(&self, node: usize) -> u16 {
        self.nodes[node].ports.clients
    }

    /// The error log of a node.
    pub fn log(&self, node: usize) -> &Path {
        self.nodes[node].log.path()
    }

    /// Kills a node as `kill -9` does and waits for its end; its data stays. Does nothing when it was killed.
    pub fn kill(&self, node: usize) -> Result<(), Error> {
        let killed = self.nodes[node].sandbox.kill();
        killed.map_err(Error::io("cannot kill the server"))
    }

    /// Ends a node as a clean shutdown does, and waits for its end. Does nothing when it does not run.
    pub fn shut_down(&self, node: usize) -> Result<(), Error> {
        let ended = self.nodes[node].sandbox.terminate(self.options.start_timeout);
        ended.map_err(Error::io("cannot shut the server down"))
    }

    /// Stops a node where it stands, with all its connections open.
    ///
    /// Fails with [`ErrorKind::NotRunning`] when it was killed or has ended.
    pub fn pause(&self, node: usize) -> Result<(), Error> {
        self.nodes[node].sandbox.stop().map_err(crate::server::not_signalled)
    }

    /// Lets a paused node go on.
    ///
    /// Fails with [`ErrorKind::NotRunning`] when it was killed or has ended.
    pub fn resume(&self, node: usize) -> Result<(), Error> {
        self.nodes[node].sandbox.resume().map_err(crate::server::not_signalled)
    }

    /// Whether the process of a node runs; a node that loses its place in the cluster for good ends by itself.
    pub fn is_running(&self, node: usize) -> Result<bool, Error> {
        match self.nodes[node].sandbox.try_wait() {
            Ok(status) => Ok(status.is_none()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("cannot look at the server's process")(error)),
        }
    }

    /// Starts a node on its data that joins those that run, and does not wait until it has.
    pub fn launch(&self, node: usize) -> Result<(), Error> {
        let position = self.recover(node)?;
        self.spawn(node, Entry::Join, position.as_deref())
    }

    /// Starts a node on its data, and waits until it is in the cluster of those that run.
    ///
    /// Fails with [`ErrorKind::NotReady`] as [`Galera::start`] does.
    pub fn restart(&self, node: usize) -> Result<(), Error> {
        let log_start = self.nodes[node].log.len();
        self.launch(node)?;
        self.wait_until_synced(node, log_start, self.deadline())
    }

    /// Begins the cluster anew once no node runs, with the one that has most on disk; the others join. This is what an
    /// operator does after a power failure: it finds out how far each node came (`--wsrep-recover`), and tells the
    /// furthest that it may begin (`safe_to_bootstrap` in `grastate.dat`).
    ///
    /// Fails with [`ErrorKind::NotReady`] as [`Galera::start`] does.
    pub fn bootstrap(&self) -> Result<(), Error> {
        let mut furthest = (0, -1);
        for node in 0..self.nodes.len() {
            self.kill(node)?;
            let position = self.recover(node)?;
            let number = position.as_deref().and_then(|position| position.rsplit(':').next());
            let number = number.and_then(|number| number.parse().ok()).unwrap_or(-1);
            if number > furthest.1 {
                furthest = (node, number);
            }
        }
        for node in &self.nodes {
            remove(&node.data().join(VIEW_FILE))?;
        }
        self.begin(furthest.0)
    }

    fn prepare(installation: &Installation, options: &GaleraOptions) -> Result<Self, Error> {
        let ports = Ports::find(options.nodes).map_err(Error::io("cannot find free ports"))?;
        let mut nodes = Vec::new();
        for ports in ports {
            nodes.push(Node::create(ports)?);
        }
        let cluster = Self {
            installation: installation.clone(),
            options: options.clone(),
            nodes,
        };
        for node in &cluster.nodes {
            copy_template(installation, options, &node.data())?;
        }
        Ok(cluster)
    }

    /// Starts `first` as the one that begins the cluster, and the others, which join it.
    fn begin(&self, first: usize) -> Result<(), Error> {
        let deadline = self.deadline();
        let log_starts: Vec<_> = self.nodes.iter().map(|node| node.log.len()).collect();
        let position = self.recover(first)?;
        self.nodes[first].may_begin()?;
        self.spawn(first, Entry::Begin, position.as_deref())?;
        self.wait_until_synced(first, log_starts[first], deadline)?;
        // One after the other: while one is told of the state, the cluster takes nobody else in.
        for node in (0..self.nodes.len()).filter(|node| *node != first) {
            self.launch(node)?;
            self.wait_until_synced(node, log_starts[node], deadline)?;
        }
        Ok(())
    }

    /// The last transaction that a node has on disk; none where it was never in a cluster.
    fn recover(&self, node: usize) -> Result<Option<String>, Error> {
        let Node { sandbox, ports, .. } = &self.nodes[node];
        let log = Log::new(sandbox.folder().join("recovery.log"));
        let own = [
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={}", self.options.library.display()),
            "--wsrep-cluster-address=gcomm://".to_owned(),
            "--binlog-format=ROW".to_owned(),
            "--wsrep-recover".to_owned(),
            "--skip-networking".to_owned(),
        ];
        let log_start = log.len();
        // Without the binlog that it was told to write it would take back what is only in that.
        let own: Vec<_> = own.into_iter().chain(self.options.arguments.iter().cloned()).collect();
        let words = words(&self.installation, sandbox, &log, ports.clients, &own)?;
        let failed = || Error::io("cannot run the server to find out how far it came");
        sandbox.spawn(&words, log.path()).map_err(failed())?;
        let status = sandbox.wait().map_err(failed())?;
        if !status.success() {
            return Err(not_ready(&format!("the recovery ended ({status})"), &log, log_start));
        }
        let text = log.since(log_start);
        let position = text.rsplit(RECOVERED).next().filter(|_| text.contains(RECOVERED));
        let position = position.and_then(|rest| rest.split([',', '\n', ' ']).next());
        Ok(position
            .filter(|position| !position.ends_with(":-1"))
            .map(str::to_owned))
    }

    fn spawn(&self, node: usize, entry: Entry, position: Option<&str>) -> Result<(), Error> {
        let Node { sandbox, log, ports } = &self.nodes[node];
        let mut own = self.arguments(*ports, node);
        match entry {
            Entry::Begin => own.push("--wsrep-new-cluster".to_owned()),
            Entry::Join => {}
        }
        own.extend(position.map(|position| format!("--wsrep-start-position={position}")));
        own.extend(self.options.arguments.iter().cloned());
        let server = words(&self.installation, sandbox, log, ports.clients, &own)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("PATH={}:{path}", sandbox.folder().display());
        let words: Vec<OsString> = ["env".into(), path.into()].into_iter().chain(server).collect();
        sandbox
            .spawn(&words, log.path())
            .map_err(Error::io("cannot run the server"))
    }

    fn arguments(&self, ports: Ports, node: usize) -> Vec<String> {
        let others = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.group));
        let others: Vec<_> = others.collect();
        let mut provider = format!(
            "gmcast.listen_addr=tcp://127.0.0.1:{};ist.recv_addr=127.0.0.1:{};gcache.size=32M;pc.recovery=true",
            ports.group, ports.transfer
        );
        for option in &self.options.provider_options {
            // A string takes any write.
            let _ = write!(provider, ";{option}");
        }
        vec![
            "--binlog-format=ROW".to_owned(),
            "--innodb-autoinc-lock-mode=2".to_owned(),
            "--wsrep-on=ON".to_owned(),
            format!("--wsrep-provider={}", self.options.library.display()),
            "--wsrep-cluster-name=goku".to_owned(),
            format!("--wsrep-cluster-address=gcomm://{}", others.join(",")),
            format!("--wsrep-node-name=node-{node}"),
            format!("--wsrep-node-address=127.0.0.1:{}", ports.group),
            format!("--wsrep-sst-method={STATE_TRANSFER_METHOD}"),
            format!("--wsrep-provider-options={provider}"),
        ]
    }

    fn wait_until_synced(&self, node: usize, log_start: usize, deadline: Instant) -> Result<(), Error> {
        let log = &self.nodes[node].log;
        while !log.has_since(log_start, SYNCED) {
            if !self.is_running(node)? {
                return Err(not_ready("a node of the cluster ended", log, log_start));
            }
            if Instant::now() >= deadline {
                return Err(not_ready(
                    "a node did not come into the cluster in time",
                    log,
                    log_start,
                ));
            }
            poll::pause();
        }
        Ok(())
    }

    fn lost_a_port(&self) -> bool {
        let told = |node: &Node| node.log.has_since(0, "Address already in use");
        self.nodes.iter().any(told)
    }

    fn deadline(&self) -> Instant {
        Instant::now() + self.options.start_timeout
    }
}

impl Node {
    /// A node with a folder that has all but its data.
    fn create(ports: Ports) -> Result<Self, Error> {
        let sandbox = Sandbox::create().map_err(Error::io("cannot make a temporary folder"))?;
        let folder = sandbox.folder();
        fs::create_dir(folder.join("tmp")).map_err(Error::io("cannot make the folder for temporary tables"))?;
        let script = folder.join(format!("wsrep_sst_{STATE_TRANSFER_METHOD}"));
        fs::write(&script, STATE_TRANSFER)
            .and_then(|()| fs::set_permissions(&script, fs::Permissions::from_mode(0o755)))
            .map_err(Error::io("cannot make the script for state transfers"))?;
        Ok(Self {
            log: Log::new(folder.join("error.log")),
            sandbox,
            ports,
        })
    }

    fn data(&self) -> PathBuf {
        self.sandbox.folder().join("data")
    }

    /// Tells the node that it has all that was ever committed.
    fn may_begin(&self) -> Result<(), Error> {
        let file = self.data().join(STATE_FILE);
        match fs::read_to_string(&file) {
            Ok(state) => {
                let state = state.replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1");
                fs::write(&file, state).map_err(Error::io("cannot write the state of a node"))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io("cannot read the state of a node")(error)),
        }
    }
}

impl Ports {
    /// Those that were free a moment ago, for each of some nodes.
    fn find(nodes: usize) -> io::Result<Vec<Ports>> {
        // Held until all are found, so that all differ.
        let mut listeners = Vec::new();
        let mut found = Vec::new();
        for _ in 0..nodes {
            let mut free = || -> io::Result<u16> {
                let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
                let port = listener.local_addr()?.port();
                listeners.push(listener);
                Ok(port)
            };
            found.push(Ports {
                clients: free()?,
                group: free()?,
                transfer: free()?,
            });
        }
        Ok(found)
    }
}

/// Fills the folder of a node with the data of one that has been in a cluster and left it.
fn copy_template(installation: &Installation, options: &GaleraOptions, folder: &Path) -> Result<(), Error> {
    let mut template = TEMPLATE.lock().unwrap_or_else(PoisonError::into_inner);
    let made = match template.take() {
        Some(made) => made,
        None => make_template(installation, options)?,
    };
    let copied = data::copy(&made.folder().join("data"), folder);
    *template = Some(made);
    copied
}

/// Makes the template. A node of Galera that is asked to end now and then never does (github.com/codership/galera, issues 439 and
/// 456): then another one is asked.
fn make_template(installation: &Installation, options: &GaleraOptions) -> Result<Sandbox, Error> {
    let mut attempt = 1;
    loop {
        match try_template(installation, options) {
            Err(error) if error.kind() == ErrorKind::NotReady && attempt < START_ATTEMPTS_MAX => attempt += 1,
            made => return made,
        }
    }
}

fn try_template(installation: &Installation, options: &GaleraOptions) -> Result<Sandbox, Error> {
    let ports = Ports::find(1).map_err(Error::io("cannot find free ports"))?;
    let mut nodes = Vec::new();
    for ports in ports {
        nodes.push(Node::create(ports)?);
    }
    let mut cluster = Galera {
        installation: installation.clone(),
        options: GaleraOptions {
            arguments: Vec::new(),
            provider_options: Vec::new(),
            ..options.clone()
        },
        nodes,
    };
    template::copy_to(&cluster.nodes[0].data(), installation)?;
    let log_start = cluster.nodes[0].log.len();
    cluster.begin(0)?;
    match cluster.nodes[0].sandbox.terminate(TEMPLATE_SHUTDOWN_MAX) {
        Err(late) if late.kind() == io::ErrorKind::TimedOut => {
            let why = format!("the server did not end within {TEMPLATE_SHUTDOWN_MAX:?}");
            return Err(not_ready(&why, &cluster.nodes[0].log, log_start));
        }
        ended => ended.map_err(Error::io("cannot shut the server down"))?,
    }
    let node = cluster.nodes.remove(0);
    for file in [VIEW_FILE, CACHE_FILE] {
        remove(&node.data().join(file))?;
    }
    Ok(node.sandbox)
}

fn remove(file: &Path) -> Result<(), Error> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::io(format!("cannot remove {}", file.display()))(error))
        }
        _ => Ok(()),
    }
}

fn not_ready(why: &str, log: &Log, log_start: usize) -> Error {
    let end = log.end_since(log_start);
    Error::new(ErrorKind::NotReady, format!("{why}; the end of its log:\n{end}"))
}
