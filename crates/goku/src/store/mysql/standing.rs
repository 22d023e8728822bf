//! The standing of a server by its own account: which one it is, and whether it takes writes.

use std::fmt;

use mysql_async::Value;

/// Longest name that is stored, in characters.
const NAME_CHARS_MAX: usize = 255;

/// The settings that [`Standing::of`] reads.
pub(super) const VARIABLES: [&str; 7] = [
    "server_uuid",
    "hostname",
    "port",
    "server_id",
    "read_only",
    "wsrep_on",
    "wsrep_node_name",
];

/// Asks for the state of a node of a Galera cluster.
pub(super) const GALERA_STATUS: &str =
    "show global status where variable_name in ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_local_state_comment')";

/// Asks whether a server that took writes still does.
pub(super) const READ_ONLY: &str = "select @@global.read_only";

/// The identity of a server, and what it is good for.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// The name by which all replicas know the server, at whatever address they reach it; the same after a restart.
    pub(super) name: String,
    pub(super) kind: Kind,
    /// The reason why the server takes no writes; `None` where it does.
    pub(super) refusal: Option<Refusal>,
}

/// The relation of a server to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A server alone, or one primary among replicas that are read only.
    Plain,
    /// A node of a Galera cluster; `synced` while it has all and gives nobody a copy.
    Galera { synced: bool },
    /// A server among several that are all the same, with one store behind them.
    Tidb,
}

/// The reason why a server takes no writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    ReadOnly,
    /// The node has lost the cluster, or is not in it yet.
    OutsideCluster,
}

/// Settings by their names.
pub(super) type Variables = Vec<(String, Value)>;

impl Standing {
    pub(super) fn of(version: &str, variables: &Variables, galera: &Variables) -> Standing {
        let is = |variables: &Variables, name: &str, value: &str| {
            text(variables, name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let is_galera = is(variables, "wsrep_on", "ON");
        let in_cluster = is(galera, "wsrep_ready", "ON") && is(galera, "wsrep_cluster_status", "Primary");
        let writable = ["OFF", "0"].iter().any(|value| is(variables, "read_only", value))
            || text(variables, "read_only").is_none();
        Standing {
            name: name(variables, is_galera),
            kind: if is_galera {
                let synced = is(galera, "wsrep_local_state_comment", "Synced");
                Kind::Galera { synced }
            } else if version.contains("TiDB") {
                Kind::Tidb
            } else {
                Kind::Plain
            },
            refusal: match (writable, is_galera && !in_cluster) {
                (false, _) => Some(Refusal::ReadOnly),
                (true, true) => Some(Refusal::OutsideCluster),
                (true, false) => None,
            },
        }
    }

    pub(super) fn is_galera(&self) -> bool {
        matches!(self.kind, Kind::Galera { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::ReadOnly => "the server is read only",
            Refusal::OutsideCluster => "the node has lost its cluster, or is not in it yet",
        })
    }
}

/// Whether the answer to [`READ_ONLY`] says that the server takes no writes any more.
pub(super) fn is_read_only(answer: &[mysql_async::Row]) -> bool {
    let value = answer.first().and_then(|row| row.as_ref(0)).map(plain);
    value.is_some_and(|value| !value.eq_ignore_ascii_case("OFF") && value != "0")
}

/// A setting as text.
pub(super) fn text(variables: &Variables, name: &str) -> Option<String> {
    let found = variables.iter().find(|(variable, _)| variable == name);
    found.map(|(_, value)| plain(value))
}

fn plain(value: &Value) -> String {
    value.as_sql(true).trim_matches('\'').to_owned()
}

/// The name of a server. MySQL gives each an id for ever. MariaDB has none; there the address that it knows itself by is as
/// good, with the number that servers which replicate each other must not share.
fn name(variables: &Variables, is_galera: bool) -> String {
    let text = |name| text(variables, name).unwrap_or_default();
    let uuid = text("server_uuid");
    let name = if !uuid.is_empty() {
        uuid
    } else if is_galera {
        format!("{} {}:{}", text("wsrep_node_name"), text("hostname"), text("port"))
    } else {
        format!("{} {}:{}", text("server_id"), text("hostname"), text("port"))
    };
    name.chars().take(NAME_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(of: &[(&str, &str)]) -> Variables {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), Value::from(*value));
        of.iter().map(owned).collect()
    }

    #[test]
    fn a_server_that_takes_no_writes_is_known() {
        let refusal = |read_only: &str| {
            let settings = variables(&[("hostname", "h"), ("port", "1"), ("read_only", read_only)]);
            Standing::of("10.11.6-MariaDB", &settings, &variables(&[])).refusal
        };
        for on in ["ON", "1", "READ_ONLY_NO_LOCK"] {
            assert_eq!(refusal(on), Some(Refusal::ReadOnly), "{on}");
        }
        for off in ["OFF", "0"] {
            assert_eq!(refusal(off), None, "{off}");
        }
    }

    #[test]
    fn a_node_outside_its_cluster_is_known() {
        let settings = variables(&[("read_only", "OFF"), ("wsrep_on", "ON"), ("wsrep_node_name", "n")]);
        let standing = |ready: &str, status: &str, state: &str| {
            let galera = variables(&[
                ("wsrep_ready", ready),
                ("wsrep_cluster_status", status),
                ("wsrep_local_state_comment", state),
            ]);
            Standing::of("10.11.6-MariaDB", &settings, &galera)
        };
        let good = standing("ON", "Primary", "Synced");
        assert_eq!((good.refusal, good.kind), (None, Kind::Galera { synced: true }));
        let donor = standing("ON", "Primary", "Donor/Desynced");
        assert_eq!((donor.refusal, donor.kind), (None, Kind::Galera { synced: false }));
        for (ready, status) in [("OFF", "Primary"), ("ON", "non-Primary"), ("OFF", "Disconnected")] {
            assert_eq!(standing(ready, status, "").refusal, Some(Refusal::OutsideCluster));
        }
    }

    #[test]
    fn servers_have_names_that_stay() {
        let name = |of: &[(&str, &str)]| Standing::of("", &variables(of), &variables(&[])).name;
        let mariadb = [("hostname", "h"), ("port", "3306"), ("server_id", "7")];
        assert_eq!(name(&mariadb), "7 h:3306");
        assert_eq!(name(&[("server_uuid", "u-1"), ("hostname", "h")]), "u-1");
    }
}
