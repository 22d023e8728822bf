//! The durability of acknowledged commits under a server's settings.

use crate::check::{self, Finding, Subject};

/// The settings by which a server decides when a commit is on disk; `None` where it does not know one.
#[derive(Clone, Debug, Default)]
pub(super) struct Durability {
    pub(super) flush_at_commit: Option<String>,
    pub(super) sync_binlog: Option<String>,
    pub(super) log_bin: Option<String>,
    pub(super) binlog_format: Option<String>,
    pub(super) binlog_row_image: Option<String>,
    pub(super) is_mariadb: bool,
    pub(super) is_galera: bool,
}

impl Durability {
    /// Warnings for the operator, each a sentence with what to do about it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let findings = self.findings().into_iter();
        findings
            .filter_map(|finding| {
                Some(format!(
                    "{} is {}; {}",
                    finding.subject.name, finding.message, finding.advice?
                ))
            })
            .collect()
    }

    /// What there is to say of each setting.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let has_binlog = is(&self.log_bin, &["on", "1"]);
        let mut findings = Vec::new();
        if let Some(value) = &self.flush_at_commit {
            const FLUSH: Subject = Subject::database("innodb_flush_log_at_trx_commit");
            const ADVICE: &str =
                "`set global innodb_flush_log_at_trx_commit = 1`, and in the server's configuration file";
            findings.push(match (value.as_str(), self.is_galera) {
                ("1", _) => FLUSH.ok(value),
                (_, false) => FLUSH.warning(
                    format!("{value}: a crash of the server may lose acknowledged writes"),
                    ADVICE,
                ),
                (_, true) => FLUSH.warning(
                    format!("{value}: a crash of all nodes at once may lose acknowledged writes, which one alone gets from the others"),
                    ADVICE,
                ),
            });
        }
        if let Some(value) = self.sync_binlog.as_ref().filter(|_| has_binlog) {
            const SYNC: Subject = Subject::database("sync_binlog");
            findings.push(match value.as_str() {
                "1" => SYNC.ok(value),
                _ => SYNC.warning(
                    format!(
                        "{value}: a crash of the machine may lose acknowledged writes from the binlog, and so from replicas of the \
                         database"
                    ),
                    "`set global sync_binlog = 1`, and in the server's configuration file",
                ),
            });
        }
        if let Some(format) = &self.binlog_format {
            let row_image = self.binlog_row_image.as_deref().unwrap_or("FULL");
            findings.push(check::binlog(has_binlog, format, row_image, self.is_galera));
        }
        if self.is_mariadb && is(&self.log_bin, &["off", "0"]) {
            findings.push(Subject::database("log_bin").warning(
                "OFF: other replicas see a commit an instant before it is on disk, and a crash in that instant takes it back",
                "start the server with --log-bin and sync_binlog = 1; or, for streams that must never show such an event, \
                 goku with `--deliver durable`",
            ));
        }
        findings
    }
}

fn is(setting: &Option<String>, values: &[&str]) -> bool {
    let value = setting.as_deref();
    value.is_some_and(|value| values.iter().any(|known| value.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(flush: &str, sync: &str, binlog: &str, is_mariadb: bool) -> usize {
        let some = |value: &str| Some(value.to_owned());
        Durability {
            flush_at_commit: some(flush),
            sync_binlog: some(sync),
            log_bin: some(binlog),
            is_mariadb,
            ..Durability::default()
        }
        .warnings()
        .len()
    }

    #[test]
    fn settings_are_judged() {
        assert_eq!(warnings("1", "1", "ON", true), 0);
        assert_eq!(warnings("1", "1", "ON", false), 0);
        assert_eq!(warnings("2", "1", "ON", false), 1);
        assert_eq!(warnings("0", "0", "ON", false), 2);
        assert_eq!(warnings("1", "0", "OFF", false), 0);
        assert_eq!(warnings("1", "0", "OFF", true), 1);
        assert_eq!(Durability::default().warnings().len(), 0);
    }

    #[test]
    fn a_cluster_loses_what_all_of_its_nodes_lose() {
        let durability = Durability {
            flush_at_commit: Some("2".to_owned()),
            is_galera: true,
            ..Durability::default()
        };
        let [warning] = &durability.warnings()[..] else {
            panic!("{:?}", durability.warnings());
        };
        assert!(
            warning.starts_with("innodb_flush_log_at_trx_commit is 2: a crash of all nodes"),
            "{warning}"
        );
    }

    #[test]
    fn a_binlog_of_statements_is_advised_against() {
        let advises = |log_bin: &str, format: &str| {
            let durability = Durability {
                log_bin: Some(log_bin.to_owned()),
                binlog_format: Some(format.to_owned()),
                ..Durability::default()
            };
            durability
                .warnings()
                .iter()
                .any(|warning| warning.contains("binlog_format = 'ROW'"))
        };
        assert!(advises("ON", "STATEMENT"));
        assert!(!advises("OFF", "STATEMENT"));
        assert!(!advises("ON", "MIXED"));
        assert!(!advises("ON", "ROW"));
    }
}
