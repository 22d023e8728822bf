//! What the members have their effects on.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use goku::Event;
use goku_testkit::{Random, Resource};
use tokio::process::Command;

use super::effect::{self, Effects};
use super::moves::Moves;
use super::own::Own;
use super::{NAME, PARTITIONS, PREFIX};
use crate::options::Options;

/// What the members have their effects on.
pub(super) enum Target {
    /// A resource that checks tokens, told by the commands of `goku consume --group`.
    Resource(Effects, Arc<Resource>),
    /// A database of the user's own, which has the cursors, too.
    Own(Box<Own>),
}

/// Makes a member of a label.
type Make = Box<dyn Fn(&str) -> Command + Send + Sync>;

impl Target {
    pub(super) async fn start(options: &Options, random: Random) -> Target {
        if options.exactly_once {
            return Target::Own(Box::new(Own::start(options).await));
        }
        let resource = Arc::new(Resource::default());
        Target::Resource(Effects::serve(resource.clone(), random).await, resource)
    }

    /// How members are started that reach servers there.
    pub(super) fn members(&self, options: &Options, endpoints: &[String]) -> Make {
        let (endpoints, ttl) = (endpoints.join(","), options.ttl);
        match self {
            Target::Resource(effects, _) => {
                let (program, socket) = (options.program.clone(), effects.socket());
                Box::new(move |label| consume(&program, &endpoints, &socket, ttl, label))
            }
            Target::Own(own) => Box::new(own.member(&endpoints, ttl)),
        }
    }

    /// A fault of what is the user's, from its beginning to its end; answers with its name. None where nothing is.
    pub(super) async fn inject(&self, random: &mut Random) -> Option<String> {
        match self {
            Target::Resource(..) => None,
            Target::Own(own) => Some(format!("Own{:?}", own.inject(random).await)),
        }
    }

    /// How many effects there are; none while that cannot be told.
    pub(super) async fn applied(&self) -> Option<usize> {
        match self {
            Target::Resource(_, resource) => Some(resource.applied()),
            Target::Own(own) => own.applied().await,
        }
    }

    /// What is not as it is promised, where `log` are all events that were to be handled.
    pub(super) async fn violations(&self, log: &[Event]) -> Vec<String> {
        match self {
            Target::Resource(_, resource) => resource.violations(log),
            Target::Own(own) => own.violations(log).await,
        }
    }

    /// What is told of the effects.
    pub(super) fn summary(&self, moves: &Moves) -> String {
        match self {
            Target::Resource(_, resource) => format!(
                "{} effects repeated, {} of older holders refused, {} tenures\n{}",
                resource.repeated(),
                resource.refused(),
                resource.tenures().len(),
                moves.summary(Some(resource))
            ),
            Target::Own(_) => format!("effects in the user's own database\n{}", moves.summary(None)),
        }
    }
}

/// A `goku consume --group` whose command is this program.
fn consume(program: &Path, endpoints: &str, socket: &Path, ttl: Duration, label: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["consume", NAME, PREFIX, "--group", "--in-flight", "2"]);
    command.args(["--member", label, "--partitions", &PARTITIONS.to_string()]);
    command.args(["--ttl", &format!("{}ms", ttl.as_millis())]);
    command.arg("--").arg(std::env::current_exe().unwrap());
    command.env("GOKU_ENDPOINT", endpoints);
    command.env(effect::SOCKET, socket).env(effect::HOLDER, label);
    command
}
