//! Judgements of a MySQL or MariaDB server: its version, its settings, the rights of goku's user there.

use std::time::Duration;

use super::contents::{counted, mebibytes};
use super::finding::{Finding, Subject};
use crate::limits::ENTRY_BYTES_MAX;

/// The oldest versions that have what goku's statements need: recursive queries, and columns that are added at once.
const MARIADB_MIN: (u32, u32) = (10, 3);
const MYSQL_MIN: (u32, u32) = (8, 0);

/// The oldest versions that goku's tests run on.
const MARIADB_TESTED: (u32, u32) = (10, 11);
const MYSQL_TESTED: (u32, u32) = (9, 0);

/// Bytes of a statement beside the key and the value in it.
const STATEMENT_BYTES: usize = 64 * 1024;

/// Of the bytes of `data`, the part that has to fit into the buffer pool: with less, reads at random were a tenth as fast.
const BUFFER_POOL_PART: u64 = 4;

/// A server that a store's URL lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    /// `host:port`.
    pub(crate) address: String,
    pub(crate) state: ListedState,
}

/// The state of a server that a store's URL lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListedState {
    /// It takes writes; whether it is a node of a cluster, whose nodes all do.
    Writable { in_cluster: bool },
    /// It can be reached and takes no writes, for this reason.
    Refuses(String),
    /// It cannot be used, for this reason.
    Unusable(String),
}

/// Judges the servers that a URL lists: at least one takes writes, and only one where they are no cluster.
pub(crate) fn servers(listed: &[Listed]) -> Vec<Finding> {
    const SERVER: Subject = Subject::database("connection");
    const READ_ONLY: Subject = Subject::database("read_only");
    let is_writable = |server: &&Listed| matches!(server.state, ListedState::Writable { .. });
    let writable: Vec<_> = listed.iter().filter(is_writable).collect();
    let mut findings: Vec<_> = listed
        .iter()
        .filter_map(|Listed { address, state }| match state {
            ListedState::Writable { .. } => Some(SERVER.ok(format!("{address} takes writes"))),
            ListedState::Refuses(_) => None,
            ListedState::Unusable(why) if writable.is_empty() => Some(SERVER.error(
                why.clone(),
                format!("start the server at {address}, or mend the URL or the account that the message names"),
            )),
            ListedState::Unusable(why) => Some(SERVER.warning(
                format!("{address} cannot be used: {why}"),
                "start that server, or take it out of the URL: without it there is one less to fail over to",
            )),
        })
        .collect();
    for Listed { address, state } in listed {
        let ListedState::Refuses(why) = state else { continue };
        findings.push(match writable.is_empty() {
            true => READ_ONLY.error(
                format!("{address} takes no writes: {why}"),
                "`set global read_only = 0` on the primary (MySQL: super_read_only, too); a Galera node needs its cluster back",
            ),
            false => READ_ONLY.ok(format!("{address} takes no writes, and stands by")),
        });
    }
    let alone = |server: &&&Listed| server.state == ListedState::Writable { in_cluster: false };
    if writable.len() > 1 && writable.iter().any(|server| alone(&server)) {
        let addresses: Vec<_> = writable.iter().map(|server| server.address.as_str()).collect();
        findings.push(READ_ONLY.error(
            format!(
                "{} all take writes and are no cluster: goku uses none of them",
                addresses.join(" and ")
            ),
            "`set global read_only = 1` on all but the primary, and in their configuration files",
        ));
    }
    findings
}

/// Judges the version, as the server tells it.
pub(crate) fn version(version: &str) -> Finding {
    const VERSION: Subject = Subject::database("version");
    const TESTED: &str = "see docs/databases.md for what goku is tested on";
    if version.contains("TiDB") {
        return VERSION.warning(format!("{version}: goku's tests do not run on TiDB"), TESTED);
    }
    let is_mariadb = version.contains("MariaDB");
    let (name, min, tested) = match is_mariadb {
        true => ("MariaDB", MARIADB_MIN, MARIADB_TESTED),
        false => ("MySQL", MYSQL_MIN, MYSQL_TESTED),
    };
    // Where a client of before MariaDB 11 is to be pleased, this stands before the version.
    let number = version.strip_prefix("5.5.5-").unwrap_or(version);
    let mut parts = number.split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (parts.next(), parts.next()) else {
        return VERSION.warning(format!("{version:?} is no version that is known"), TESTED);
    };
    match (major, minor) {
        found if found < min => VERSION.error(
            format!("{name} {major}.{minor} lacks statements that goku uses"),
            format!(
                "use {name} {}.{} or later, better {}.{}",
                min.0, min.1, tested.0, tested.1
            ),
        ),
        found if found < tested => VERSION.warning(
            format!(
                "{name} {major}.{minor} is older than what goku's tests run on, {}.{}",
                tested.0, tested.1
            ),
            TESTED,
        ),
        _ => VERSION.ok(version.to_owned()),
    }
}

/// Judges the isolation level that a session of goku has.
pub(crate) fn isolation(level: &str) -> Finding {
    const ISOLATION: Subject = Subject::database("isolation");
    match level.eq_ignore_ascii_case("READ-COMMITTED") {
        true => ISOLATION.ok("READ-COMMITTED, which each connection sets"),
        false => ISOLATION.error(
            format!("a connection that sets READ-COMMITTED has {level}"),
            "look for a proxy or an init_connect that sets transaction_isolation, and leave it out for goku's account",
        ),
    }
}

/// Judges the setting by which a page that was written in part is found again.
pub(crate) fn doublewrite(value: &str) -> Finding {
    const DOUBLEWRITE: Subject = Subject::database("innodb_doublewrite");
    match ["OFF", "0", "DETECT_ONLY"].iter().any(|off| value.eq_ignore_ascii_case(off)) {
        true => DOUBLEWRITE.warning(
            format!("{value}: after a crash of the machine a page may be half of what it was, and the table cannot be read"),
            "set innodb_doublewrite = ON in the server's configuration file, unless the file system writes pages as a whole",
        ),
        false => DOUBLEWRITE.ok(value.to_owned()),
    }
}

/// Judges the binlog, where there is one, by its format and the image of rows in it.
pub(crate) fn binlog(is_on: bool, format: &str, row_image: &str, is_galera: bool) -> Finding {
    const BINLOG: Subject = Subject::database("binlog_format");
    let is = |wanted: &str| format.eq_ignore_ascii_case(wanted);
    if is_galera && !is("ROW") {
        return BINLOG.error(
            format!("{format}: a Galera cluster replicates rows only"),
            "set binlog_format = ROW in the configuration file of each node",
        );
    }
    if !is_on {
        return BINLOG.ok("there is no binlog");
    }
    match is("STATEMENT") {
        true => BINLOG.error(
            format!("{format}: the server refuses what goku writes, at READ COMMITTED"),
            "`set global binlog_format = 'ROW'`, and in the server's configuration file; then start goku's servers again",
        ),
        false => BINLOG.ok(format!("{format}, with the image {row_image} of changed rows")),
    }
}

/// Judges the largest packet that the server takes, in bytes, beside the largest batch that goku makes where it may.
pub(crate) fn packet(bytes: usize, batch_bytes_max: usize) -> Finding {
    const PACKET: Subject = Subject::database("max_allowed_packet");
    // Of a value with zeros, quotes and backslashes alone each byte is sent as two.
    let (largest, escaped) = (ENTRY_BYTES_MAX + STATEMENT_BYTES, 2 * ENTRY_BYTES_MAX + STATEMENT_BYTES);
    let told = mebibytes(bytes as u64);
    let advice = || {
        let wanted = 4 * batch_bytes_max;
        format!(
            "`set global max_allowed_packet = {wanted}`, and in the server's configuration file; then start goku's servers again"
        )
    };
    match bytes {
        _ if bytes < largest => PACKET.error(
            format!(
                "{told}: values of more than about {} are refused",
                mebibytes((bytes / 4) as u64)
            ),
            advice(),
        ),
        _ if bytes < escaped => PACKET.warning(
            format!("{told}: values of up to 4 MiB that have many zero bytes or quotes are refused"),
            advice(),
        ),
        _ => PACKET.ok(format!(
            "{told}: a batch holds up to {}",
            mebibytes(batch_bytes_max.min(bytes / 4) as u64)
        )),
    }
}

/// Judges the size of the redo log, in bytes, beside the largest batch and how many of them are in flight.
pub(crate) fn redo_log(bytes: u64, batch_bytes_max: usize, in_flight: usize) -> Finding {
    const REDO: Subject = Subject::database("redo_log");
    // A value is written to its row and to its event.
    let batch = 2 * batch_bytes_max as u64;
    let all = batch * in_flight as u64;
    let told = mebibytes(bytes);
    let advice = || {
        format!(
            "set innodb_log_file_size = {0} (MySQL: `set global innodb_redo_log_capacity = {0}`) in the server's configuration file, \
             and start it again",
            2 * all
        )
    };
    match bytes {
        _ if bytes < batch => REDO.error(
            format!(
                "{told}: less than what one large batch writes, {}, so that it waits for pages to be written, or fails",
                mebibytes(batch)
            ),
            advice(),
        ),
        _ if bytes < all => REDO.warning(
            format!(
                "{told}: less than what {in_flight} large batches in flight write, {}: large writes wait",
                mebibytes(all)
            ),
            advice(),
        ),
        _ => REDO.ok(told),
    }
}

/// Judges the time-outs of a Galera cluster beside the shortest time to live of leases with a deadline, where there is any.
pub(crate) fn galera_timeouts(suspect: Duration, inactive: Duration, shortest_ttl: Option<Duration>) -> Finding {
    const TIMEOUTS: Subject = Subject::database("evs.suspect_timeout");
    let told = format!(
        "writes stand still for up to {} to {} s when a node dies",
        suspect.as_secs_f64(),
        inactive.as_secs_f64()
    );
    let Some(ttl) = shortest_ttl else {
        return TIMEOUTS.ok(format!("{told}: give leases times to live above that"));
    };
    let shortest = format!(
        "{told}, and the shortest time to live of a lease is {} s",
        ttl.as_secs_f64()
    );
    const ADVICE: &str = "give leases times to live of at least 15 s, or set evs.suspect_timeout=PT1.5S and \
                          evs.inactive_timeout=PT4.5S in wsrep_provider_options of each node";
    match ttl {
        _ if ttl <= suspect => TIMEOUTS.error(format!("{shortest}: such leases end though they are renewed"), ADVICE),
        _ if ttl < inactive => TIMEOUTS.warning(
            format!("{shortest}: such leases may end though they are renewed"),
            ADVICE,
        ),
        _ => TIMEOUTS.ok(shortest),
    }
}

/// Reads a time-out out of `wsrep_provider_options`: a period of seconds, such as `PT5S`.
pub(crate) fn provider_timeout(options: &str, name: &str) -> Option<Duration> {
    let pairs = options.split(';').filter_map(|pair| pair.split_once('='));
    let value = pairs
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)?;
    let seconds: f64 = value.1.strip_prefix("PT")?.strip_suffix('S')?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// The connections that servers of goku make, and those that a database lets them have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pool {
    /// Connections of one server of goku, mostly, and at most.
    pub(crate) of_server: usize,
    pub(crate) of_server_max: usize,
    /// Servers of goku, at least the one that is to be started.
    pub(crate) servers: usize,
    pub(crate) max_connections: u64,
    /// Of the account; 0 says that there is no limit.
    pub(crate) max_user_connections: u64,
}

/// Judges how many connections may be made.
pub(crate) fn pool(pool: Pool) -> Finding {
    let (name, limit) = match pool.max_user_connections {
        limit @ 1.. if limit < pool.max_connections => ("max_user_connections", limit),
        _ => ("max_connections", pool.max_connections),
    };
    let subject = Subject::database(name);
    let needed = (pool.of_server * pool.servers) as u64;
    // One server more while they are replaced one by one.
    let wanted = (pool.of_server_max * (pool.servers + 1)) as u64;
    let told = format!(
        "{limit} connections for {} of goku, with up to {} each",
        counted(pool.servers, "server"),
        pool.of_server_max
    );
    let advice = format!(
        "`set global {name} = {}`, and in the server's configuration file, or the account's own limit",
        2 * wanted
    );
    match limit {
        _ if limit < needed => subject.error(format!("{told}, which need {needed}"), advice),
        _ if limit < wanted => subject.warning(
            format!("{told}: too few while one is being replaced and others are slow ({wanted})"),
            advice,
        ),
        _ => subject.ok(told),
    }
}

/// Judges the encryption of a connection by its cipher, and by whether it leaves this machine.
pub(crate) fn encryption(cipher: Option<&str>, is_local: bool) -> Finding {
    const TLS: Subject = Subject::database("encryption");
    match (cipher, is_local) {
        (Some(cipher), _) => TLS.ok(format!("TLS with {cipher}")),
        (None, true) => TLS.ok("in plain text, within this machine"),
        (None, false) => TLS.warning(
            "in plain text: whoever is on the way to the database can read and change everything",
            "add ?ssl-mode=verify-identity to the store's URL, and &ssl-ca=FILE where no public CA gave the server's certificate",
        ),
    }
}

/// Judges the memory for pages beside the bytes of the table `data`.
pub(crate) fn buffer_pool(pool_bytes: u64, data_bytes: u64) -> Finding {
    const POOL: Subject = Subject::database("innodb_buffer_pool_size");
    let told = format!(
        "{} for {} of keys and values",
        mebibytes(pool_bytes),
        mebibytes(data_bytes)
    );
    match pool_bytes < data_bytes / BUFFER_POOL_PART {
        true => POOL.warning(
            format!("{told}: reads of keys at random wait for the disk"),
            format!("`set global innodb_buffer_pool_size = {data_bytes}`, and in the server's configuration file"),
        ),
        false => POOL.ok(told),
    }
}

/// The account of goku's user and its database, as grants name them.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) database: String,
}

/// A right to make something, with the server's refusal where it lacks, and whether all is there that it is needed for.
#[derive(Clone, Debug)]
pub(crate) struct Making {
    pub(crate) refusal: Option<String>,
    pub(crate) is_done: bool,
}

impl Account {
    fn grant(&self, what: &str) -> String {
        format!("`grant {what} on {}.* to {}`", self.database, self.name)
    }
}

/// Judges the rights to read and change rows, each with the server's refusal where it lacks.
pub(crate) fn rights(account: &Account, rows: &[(&'static str, Option<String>)]) -> Finding {
    const RIGHTS: Subject = Subject::database("rights");
    let names = |is_lacking: bool| {
        let named = rows.iter().filter(|(_, refusal)| refusal.is_some() || !is_lacking);
        named.map(|(right, _)| *right).collect::<Vec<_>>().join(", ")
    };
    match rows.iter().find_map(|(_, refusal)| refusal.as_ref()) {
        Some(refusal) => RIGHTS.error(
            format!("the user may not {}: {refusal}", names(true)),
            account.grant(&names(true)),
        ),
        None => RIGHTS.ok(format!("the user may {}", names(false))),
    }
}

/// Judges the right to make tables, which the first start needs.
pub(crate) fn create(account: &Account, tables: &Making) -> Finding {
    making(account, Subject::database("create"), "create", "tables", tables)
}

/// Judges the right to add columns, which the first start of a version with other ones needs.
pub(crate) fn alter(account: &Account, columns: &Making) -> Finding {
    making(account, Subject::database("alter"), "alter", "columns", columns)
}

fn making(account: &Account, subject: Subject, right: &str, what: &str, making: &Making) -> Finding {
    match (&making.refusal, making.is_done) {
        (None, _) => subject.ok(format!("the user may {right}")),
        (Some(_), true) => subject.ok(format!("the user may not {right}, and need not: all {what} are there")),
        (Some(refusal), false) => subject.error(
            format!("there are {what} to be made, and the user may not {right}: {refusal}"),
            account.grant(right),
        ),
    }
}

/// Judges the right to make the views for SQL of the original goku, which only that SQL needs.
pub(crate) fn create_view(account: &Account, views: &Making) -> Finding {
    const VIEWS: Subject = Subject::database("create_view");
    match (&views.refusal, views.is_done) {
        (None, _) => VIEWS.ok("the user may create views"),
        (Some(_), true) => VIEWS.ok("the user may not create views, and need not: all are there"),
        (Some(refusal), false) => VIEWS.warning(
            format!("the views for SQL of the original goku cannot be made: {refusal}"),
            account.grant("create view"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{self, Error as Wrong, Ok as Good, Warning};

    const MIB: usize = 1024 * 1024;

    fn listed(states: &[ListedState]) -> Vec<Listed> {
        let servers = states.iter().enumerate();
        servers
            .map(|(index, state)| Listed {
                address: format!("h{index}:3306"),
                state: state.clone(),
            })
            .collect()
    }

    fn worst(findings: &[Finding]) -> Severity {
        findings.iter().map(|finding| finding.severity).max().unwrap()
    }

    #[test]
    fn one_server_that_takes_writes_is_enough_and_two_that_are_no_cluster_are_too_many() {
        let alone = ListedState::Writable { in_cluster: false };
        let node = ListedState::Writable { in_cluster: true };
        let replica = ListedState::Refuses("the server is read only".to_owned());
        let dead = ListedState::Unusable("no answer".to_owned());
        for (states, severity) in [
            (vec![alone.clone()], Good),
            (vec![alone.clone(), replica.clone()], Good),
            (vec![node.clone(), node.clone()], Good),
            (vec![alone.clone(), dead.clone()], Warning),
            (vec![replica.clone()], Wrong),
            (vec![dead.clone()], Wrong),
            (vec![replica, dead], Wrong),
            (vec![alone.clone(), alone], Wrong),
        ] {
            let findings = servers(&listed(&states));
            assert_eq!(worst(&findings), severity, "{findings:?}");
        }
    }

    #[test]
    fn versions_are_judged_by_what_goku_needs_and_what_its_tests_run_on() {
        for (text, severity) in [
            ("10.11.6-MariaDB-0+deb12u1-log", Good),
            ("11.8.2-MariaDB", Good),
            ("5.5.5-10.11.6-MariaDB", Good),
            ("10.6.1-MariaDB", Warning),
            ("10.2.44-MariaDB", Wrong),
            ("9.1.0", Good),
            ("8.0.36", Warning),
            ("5.7.44-log", Wrong),
            ("8.0.11-TiDB-v7.5.0", Warning),
            ("unknown", Warning),
        ] {
            assert_eq!(version(text).severity, severity, "{text}");
        }
    }

    #[test]
    fn settings_of_durability_and_isolation_are_judged() {
        assert_eq!(
            ["READ-COMMITTED", "REPEATABLE-READ"].map(|level| isolation(level).severity),
            [Good, Wrong]
        );
        let doublewrites = ["ON", "1", "OFF", "0", "DETECT_ONLY"].map(|value| doublewrite(value).severity);
        assert_eq!(doublewrites, [Good, Good, Warning, Warning, Warning]);
        for (is_on, format, is_galera, severity) in [
            (true, "ROW", false, Good),
            (true, "MIXED", false, Good),
            (true, "STATEMENT", false, Wrong),
            (false, "STATEMENT", false, Good),
            (false, "MIXED", true, Wrong),
            (false, "ROW", true, Good),
        ] {
            assert_eq!(
                binlog(is_on, format, "FULL", is_galera).severity,
                severity,
                "{format} {is_galera}"
            );
        }
    }

    #[test]
    fn packets_are_judged_by_the_largest_value() {
        let severity = |bytes| packet(bytes, 8 * MIB).severity;
        assert_eq!(
            [MIB, 5 * MIB, 16 * MIB, 64 * MIB].map(severity),
            [Wrong, Warning, Good, Good]
        );
        assert!(packet(MIB, 8 * MIB).advice.unwrap().contains("= 33554432"));
        assert!(packet(16 * MIB, 8 * MIB).message.contains("up to 4 MiB"));
    }

    #[test]
    fn the_redo_log_is_judged_by_the_batches_in_flight() {
        let severity = |bytes: usize| redo_log(bytes as u64, 8 * MIB, 3).severity;
        assert_eq!(
            [4 * MIB, 16 * MIB, 47 * MIB, 48 * MIB, 96 * MIB].map(severity),
            [Wrong, Warning, Warning, Good, Good]
        );
    }

    #[test]
    fn timeouts_of_galera_are_judged_by_the_shortest_lease() {
        let options = "base_dir = /d/; evs.inactive_timeout = PT15S; evs.suspect_timeout = PT1.5S; x";
        let timeout = |name| provider_timeout(options, name);
        assert_eq!(timeout("evs.suspect_timeout"), Some(Duration::from_millis(1_500)));
        assert_eq!(timeout("evs.inactive_timeout"), Some(Duration::from_secs(15)));
        assert_eq!(timeout("base_dir"), None);
        let seconds = Duration::from_secs;
        let severity = |ttl: Option<u64>| galera_timeouts(seconds(5), seconds(15), ttl.map(seconds)).severity;
        assert_eq!(
            [None, Some(5), Some(6), Some(14), Some(15)].map(severity),
            [Good, Wrong, Warning, Warning, Good]
        );
    }

    #[test]
    fn the_pool_has_to_fit_the_smaller_of_two_limits() {
        let found = |max_connections, max_user_connections| {
            pool(Pool {
                of_server: 12,
                of_server_max: 20,
                servers: 2,
                max_connections,
                max_user_connections,
            })
        };
        for (max_connections, max_user_connections, severity, name) in [
            (151, 0, Good, "max_connections"),
            (60, 0, Good, "max_connections"),
            (59, 0, Warning, "max_connections"),
            (24, 0, Warning, "max_connections"),
            (23, 0, Wrong, "max_connections"),
            (151, 23, Wrong, "max_user_connections"),
            (151, 200, Good, "max_connections"),
        ] {
            let found = found(max_connections, max_user_connections);
            assert_eq!(
                (found.severity, found.subject.name),
                (severity, name),
                "{}",
                found.message
            );
        }
    }

    #[test]
    fn plain_text_is_for_this_machine_alone() {
        let severity = |cipher, is_local| encryption(cipher, is_local).severity;
        assert_eq!(severity(Some("TLS_AES_256_GCM_SHA384"), false), Good);
        assert_eq!(severity(None, true), Good);
        assert_eq!(severity(None, false), Warning);
    }

    #[test]
    fn the_buffer_pool_holds_a_quarter_of_the_data() {
        assert_eq!(buffer_pool(25, 100).severity, Good);
        assert_eq!(buffer_pool(24, 100).severity, Warning);
        assert_eq!(buffer_pool(0, 0).severity, Good);
    }

    #[test]
    fn rights_are_asked_for_where_there_is_something_to_be_done_with_them() {
        let account = Account {
            name: "'goku'@'%'".to_owned(),
            database: "d".to_owned(),
        };
        let denied = || Some("command denied".to_owned());
        assert_eq!(rights(&account, &[("select", None), ("insert", None)]).severity, Good);
        let found = rights(&account, &[("select", None), ("insert", denied())]);
        assert_eq!(found.severity, Wrong);
        assert_eq!(found.advice.as_deref(), Some("`grant insert on d.* to 'goku'@'%'`"));

        let severities = |refusal: Option<String>, is_done| {
            let making = Making { refusal, is_done };
            [create, alter, create_view].map(|judge| judge(&account, &making).severity)
        };
        assert_eq!(severities(None, false), [Good; 3]);
        assert_eq!(severities(denied(), true), [Good; 3]);
        assert_eq!(severities(denied(), false), [Wrong, Wrong, Warning]);
    }
}
