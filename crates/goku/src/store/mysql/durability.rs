//! The durability of acknowledged commits under a server's settings.

/// The settings by which a server decides when a commit is on disk; `None` where it does not know one.
#[derive(Clone, Debug, Default)]
pub(super) struct Durability {
    pub(super) flush_at_commit: Option<String>,
    pub(super) sync_binlog: Option<String>,
    pub(super) log_bin: Option<String>,
    pub(super) binlog_format: Option<String>,
    pub(super) is_mariadb: bool,
}

impl Durability {
    /// Warnings for the operator, each a sentence with what to do about it.
    pub(super) fn warnings(&self) -> Vec<String> {
        let is = |setting: &Option<String>, values: &[&str]| {
            setting
                .as_deref()
                .is_some_and(|value| values.iter().any(|known| value.eq_ignore_ascii_case(known)))
        };
        let mut warnings = Vec::new();
        if let Some(value) = self.flush_at_commit.as_deref().filter(|value| *value != "1") {
            warnings.push(format!(
                "innodb_flush_log_at_trx_commit is {value}: a crash of the server may lose acknowledged writes; set it to 1"
            ));
        }
        let has_binlog = is(&self.log_bin, &["on", "1"]);
        if let Some(value) = self.sync_binlog.as_deref().filter(|value| has_binlog && *value != "1") {
            warnings.push(format!(
                "sync_binlog is {value}: a crash of the machine may lose acknowledged writes from the binlog, and so from \
                 replicas of the database; set it to 1"
            ));
        }
        if has_binlog && is(&self.binlog_format, &["statement"]) {
            warnings.push(
                "binlog_format is STATEMENT: the server refuses what goku writes, at READ COMMITTED; set it to MIXED or ROW"
                    .to_owned(),
            );
        }
        if self.is_mariadb && is(&self.log_bin, &["off", "0"]) {
            warnings.push(
                "the binlog is off: other replicas see a commit an instant before it is on disk, and a crash in that instant \
                 takes it back; streams that must never show such an event need '--deliver durable'"
                    .to_owned(),
            );
        }
        warnings
    }
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
            binlog_format: None,
            is_mariadb,
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
                .any(|warning| warning.contains("MIXED or ROW"))
        };
        assert!(advises("ON", "STATEMENT"));
        assert!(!advises("OFF", "STATEMENT"));
        assert!(!advises("ON", "MIXED"));
        assert!(!advises("ON", "ROW"));
    }
}
