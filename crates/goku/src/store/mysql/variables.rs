//! The session variables that answers depend on.
//!
//! Each session begins with the server's global defaults. So a session sets every variable that can change the rows of an
//! answer, the course of a transaction or the meaning of a statement, wherever the server knows it and has it otherwise, and
//! reads it back: a variable that cannot be set is an error that names it.
//!
//! Variables that can change no answer of goku's statements are left out:
//! - how a statement is carried out: `optimizer_*`, `eq_range_index_dive_limit`,
//!   `range_optimizer_max_mem_size`, `use_stat_tables`, `join_*`, `*_buffer_size`, `big_tables`,
//!   `max_length_for_sort_data`, `max_seeks_for_key`, `max_rowid_filter_size`, `old_alter_table`, `secondary_engine_*`;
//! - bounds on resources, which end a statement with an error: `tmp_*_table_size`, `max_session_mem_used`,
//!   `max_tmp_session_space_usage`, `parser_max_mem_size`, `connection_memory_limit`, a `sort_buffer_size` of a few KiB; or
//!   the connection: `wait_timeout`, `idle_*_transaction_timeout`;
//! - `max_join_size`, which `sql_big_selects` overrules;
//! - what is of use to statements that goku does not have: `div_precision_increment`, `default_week_format`, `lc_*`,
//!   `auto_increment_*`, `insert_id`, `rand_seed*`, `updatable_views_with_limit`, `windowing_use_high_precision`,
//!   `system_versioning_*`, `block_encryption_mode`, `low_priority_updates`, `innodb_table_locks`, `check_constraint_checks`,
//!   `enable_cascade_triggers`, `default_regex_flags`, `max_sp_recursion_depth`, `xa_detach_on_prepare`, `old_mode`;
//! - defaults of tables, as goku's name what they need: `default_storage_engine`, `default_tmp_storage_engine`,
//!   `explicit_defaults_for_timestamp`, `default_table_encryption`, `sql_require_primary_key`,
//!   `sql_generate_invisible_primary_key`, `innodb_strict_mode`, `column_compression_*`, `character_set_*`, `collation_*` and
//!   `default_collation_for_utf8mb4`, but for the character sets of the connection, which `set names binary` sets;
//! - what makes a change of tables fail with an error: `enforce_storage_engine`, `alter_algorithm`;
//! - logs, warnings and reports: `log_*`, `slow_*`, `min_examined_row_limit`, `sql_notes`, `sql_warnings`,
//!   `sql_quote_show_create`, `session_track_*`, `profiling*`, `binlog_*`, `old_passwords`, `max_error_count`,
//!   `terminology_use_previous`, `show_*`, `explain_*`, `information_schema_stats_expiry`;
//! - what has no global default: `timestamp`, `sql_log_bin`, `pseudo_*`, `gtid_*`, `use_secondary_engine`, `resultset_metadata`.

use std::fmt;

use mysql_async::Value;

use super::standing::{Variables, text};

/// Longest wait of a statement for a lock of rows.
const LOCK_WAIT_SECONDS_MAX: u64 = 4;

/// Longest wait for an `alter table` of others that a session must be allowed. It waits no longer than for any answer.
const METADATA_LOCK_WAIT_SECONDS_MIN: u64 = 60;

/// Steps that a recursive query must be allowed: more than one of goku's takes.
const RECURSION_STEPS_MIN: u64 = 1_000;

/// Bytes by which values must be told apart when they are sorted: more than a key has.
const SORT_BYTES_MIN: u64 = 1_024;

/// Bytes that a concatenation of rows must be allowed.
const CONCATENATION_BYTES_MIN: u64 = 1024 * 1024;

/// Variables with the values that they must have in every session, of all servers.
const VARIABLES: [(&str, Wanted); 29] = [
    // The rows of an answer.
    ("sql_select_limit", Wanted::Number(u64::MAX)),
    ("sql_big_selects", Wanted::Switch(true)),
    ("sql_safe_updates", Wanted::Switch(false)),
    ("sql_auto_is_null", Wanted::Switch(false)),
    // With both, and `semijoin=off`, MariaDB finds nothing of what `show variables` has in a list.
    ("sql_buffer_result", Wanted::Switch(false)),
    ("in_predicate_conversion_threshold", Wanted::Number(0)),
    ("max_sort_length", Wanted::AtLeast(SORT_BYTES_MIN)),
    ("group_concat_max_len", Wanted::AtLeast(CONCATENATION_BYTES_MIN)),
    // Two names of one bound. Where it is met MariaDB answers with what it has until then.
    ("max_recursive_iterations", Wanted::AtLeast(RECURSION_STEPS_MIN)),
    ("cte_max_recursion_depth", Wanted::AtLeast(RECURSION_STEPS_MIN)),
    ("standard_compliant_cte", Wanted::Switch(true)),
    ("query_cache_type", Wanted::Text("OFF")),
    ("wsrep_dirty_reads", Wanted::Switch(false)),
    // A new primary would answer before it has applied what the old one left.
    (
        "group_replication_consistency",
        Wanted::Beyond {
            weakest: "EVENTUAL",
            next: "BEFORE_ON_PRIMARY_FAILOVER",
        },
    ),
    // The course of a transaction.
    ("autocommit", Wanted::Switch(true)),
    ("completion_type", Wanted::Text("NO_CHAIN")),
    ("transaction_isolation", Wanted::Text("READ-COMMITTED")),
    ("tx_isolation", Wanted::Text("READ-COMMITTED")),
    ("transaction_read_only", Wanted::Switch(false)),
    ("tx_read_only", Wanted::Switch(false)),
    ("innodb_snapshot_isolation", Wanted::Switch(false)),
    // Both off, MariaDB looks for rows that are there already at the commit only.
    ("unique_checks", Wanted::Switch(true)),
    ("foreign_key_checks", Wanted::Switch(true)),
    // The time of a statement.
    ("max_statement_time", Wanted::Number(0)),
    ("max_execution_time", Wanted::Number(0)),
    ("lock_wait_timeout", Wanted::AtLeast(METADATA_LOCK_WAIT_SECONDS_MIN)),
    // The meaning of a statement.
    // On, MariaDB takes `create table if not exists` of a table that is there for an error.
    ("sql_if_exists", Wanted::Switch(false)),
    ("time_zone", Wanted::Text("+00:00")),
    ("sql_mode", Wanted::Text("STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION")),
];

/// Settings made before anything is asked, as even an answer that lists variables depends on them.
pub(super) const BEFORE_ALL: &str = "set sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_buffer_result = 0\
                                     /*M!100100 , max_statement_time = 0*//*!50708 , max_execution_time = 0*/\
                                     /*M!100318 , in_predicate_conversion_threshold = 0*/";

/// The value that a variable must have.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted {
    Switch(bool),
    Number(u64),
    AtLeast(u64),
    /// A word, or several in any order.
    Text(&'static str),
    /// Any level but the weakest, such as the next one.
    Beyond {
        weakest: &'static str,
        next: &'static str,
    },
}

/// A variable of a session, and the value that it must have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) wanted: Wanted,
}

/// The variables of every session, and the time-outs of those that lock the head, which end after `stall_seconds_max`
/// without a word.
pub(super) fn of_session(stall_seconds_max: Option<u32>) -> Vec<Variable> {
    let variable = |(name, wanted)| Variable { name, wanted };
    let lock_wait = ("innodb_lock_wait_timeout", Wanted::Number(LOCK_WAIT_SECONDS_MAX));
    let of_all = VARIABLES.into_iter().chain([lock_wait]);
    let stall = stall_seconds_max.map(|seconds| Wanted::Number(seconds.into()));
    let of_stall = ["net_read_timeout", "net_write_timeout", "idle_transaction_timeout"];
    let of_stall = of_stall.into_iter().filter_map(|name| Some((name, stall?)));
    of_all.chain(of_stall).map(variable).collect()
}

/// The names of all variables.
pub(super) fn names() -> Vec<&'static str> {
    of_session(Some(0)).iter().map(|variable| variable.name).collect()
}

impl Variable {
    /// Whether a server has the variable, with another value than it must have.
    pub(super) fn is_wrong_in(&self, found: &Variables) -> bool {
        text(found, self.name).is_some_and(|value| !self.wanted.is(&value))
    }

    /// The assignment of the value, as a part of a statement.
    pub(super) fn assignment(&self) -> String {
        let name = self.name;
        match self.wanted {
            Wanted::Switch(on) => format!("@@session.{name} = {}", u8::from(on)),
            Wanted::Number(number) | Wanted::AtLeast(number) => format!("@@session.{name} = {number}"),
            Wanted::Text(text) | Wanted::Beyond { next: text, .. } => format!("@@session.{name} = '{text}'"),
        }
    }
}

impl Wanted {
    /// Whether a variable with this text has the value.
    fn is(self, text: &str) -> bool {
        let number = || text.parse::<f64>().ok();
        match self {
            Wanted::Switch(on) => {
                let is = |words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                if on { is(["ON", "1"]) } else { is(["OFF", "0"]) }
            }
            Wanted::Number(wanted) => number().is_some_and(|number| number == wanted as f64),
            Wanted::AtLeast(min) => number().is_some_and(|number| number >= min as f64),
            Wanted::Text(wanted) => words(text) == words(wanted),
            Wanted::Beyond { weakest, .. } => words(text) != words(weakest),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wanted::Switch(true) => f.write_str("ON"),
            Wanted::Switch(false) => f.write_str("OFF"),
            Wanted::Number(number) => number.fmt(f),
            Wanted::AtLeast(min) => write!(f, "{min} or more"),
            Wanted::Text(text) => f.write_str(text),
            Wanted::Beyond { next, .. } => write!(f, "{next} or stronger"),
        }
    }
}

/// Values that were read back in the order of `variables`: the first that is wrong, with its value.
pub(super) fn first_wrong(
    variables: &[Variable],
    values: impl IntoIterator<Item = Value>,
) -> Option<(&Variable, String)> {
    let read = variables.iter().zip(values.into_iter().map(|value| plain(&value)));
    read.into_iter().find(|(variable, value)| !variable.wanted.is(value))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Bytes(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => other.as_sql(true),
    }
}

fn words(text: &str) -> Vec<String> {
    let mut words: Vec<_> = text.split(',').map(|word| word.trim().to_ascii_uppercase()).collect();
    words.sort();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_servers_write_them() {
        for (wanted, same, other) in [
            (Wanted::Switch(true), &["ON", "1", "on"][..], &["OFF", "0", "2", ""][..]),
            (Wanted::Switch(false), &["OFF", "0"], &["ON", "1"]),
            (Wanted::Number(0), &["0", "0.000000"], &["1", "0.5", ""]),
            (Wanted::Number(u64::MAX), &["18446744073709551615"], &["2", "1000"]),
            (Wanted::AtLeast(1_000), &["1000", "4294967295"], &["999", "0", "x"]),
            (Wanted::Text("A,B"), &["A,B", "b,a"], &["A", "", "A,B,C"]),
            (
                Wanted::Beyond {
                    weakest: "EVENTUAL",
                    next: "BEFORE",
                },
                &["BEFORE", "AFTER"],
                &["EVENTUAL", "eventual"],
            ),
        ] {
            for text in same {
                assert!(wanted.is(text), "{wanted:?} {text}");
            }
            for text in other {
                assert!(!wanted.is(text), "{wanted:?} {text}");
            }
        }
    }

    #[test]
    fn what_a_server_does_not_know_is_not_set() {
        let found = vec![
            ("sql_select_limit".to_owned(), Value::from("2")),
            ("autocommit".to_owned(), Value::from("ON")),
        ];
        let variables = of_session(None).into_iter();
        let wrong: Vec<_> = variables
            .filter(|variable| variable.is_wrong_in(&found))
            .map(|variable| variable.assignment())
            .collect();
        assert_eq!(wrong, ["@@session.sql_select_limit = 18446744073709551615"]);
    }
}
