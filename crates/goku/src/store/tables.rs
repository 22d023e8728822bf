//! The tables that stand in a database before goku's are made: whether goku may keep its own there.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, ErrorKind, Result};

/// Tables of other programs that an error names.
pub(crate) const OTHERS_NAMED_MAX: usize = 10;

/// Whether goku's tables may be made in a database that holds those of other programs only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Refused: the database was most likely named by mistake.
    #[default]
    Refused,
    /// Allowed by the operator.
    Allowed,
}

/// A table of goku's.
#[derive(Debug)]
pub(crate) struct OwnTable {
    pub(crate) name: &'static str,
    /// Columns by which it is told from another program's table of that name.
    pub(crate) columns: &'static [&'static str],
}

/// The tables and views of a database, empty for one without any.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    /// Columns of the tables that have a name of goku's.
    alike: BTreeMap<String, BTreeSet<String>>,
    /// Names of some of the other tables.
    others: Vec<String>,
}

impl Tables {
    /// Takes note of a column of a table that has a name of goku's.
    pub(crate) fn add_column(&mut self, table: &str, column: &str) {
        let columns = self.alike.entry(table.to_owned()).or_default();
        columns.insert(column.to_owned());
    }

    /// Takes note of a table with any other name. One more than [`OTHERS_NAMED_MAX`] says as much as any number.
    pub(crate) fn add_other(&mut self, table: String) {
        self.others.push(table);
    }

    /// Whether this table is there, and goku's.
    pub(crate) fn is_alike(&self, own: &OwnTable) -> bool {
        self.alike.contains_key(own.name) && self.foreign(own).is_none()
    }

    /// Passes where goku's tables may be made, or made complete: no others are there, or `sharing` allows them.
    ///
    /// # Errors
    ///
    /// `Config` where a table with a name of goku's is another program's, and where all tables are and `sharing` refuses that.
    pub(crate) fn check(&self, own: &[OwnTable], sharing: Sharing) -> Result<()> {
        let foreign: Vec<String> = own.iter().filter_map(|table| self.foreign(table)).collect();
        if !foreign.is_empty() {
            let whose = if self.are_the_originals() {
                "it holds the tables of the original goku, which have other columns than goku's of the same names"
            } else {
                "it holds tables of another program, or of a goku before its first release, with the names of goku's"
            };
            let message = format!(
                "{whose} ({}); nothing was made: use another database",
                foreign.join("; ")
            );
            return Err(Error::new(ErrorKind::Config, message).permanent());
        }
        if self.alike.is_empty() && !self.others.is_empty() && sharing == Sharing::Refused {
            let message = format!(
                "it holds tables of another program ({}) and none of goku's; nothing was made: use a database of its own, \
                 or start goku with --share-database (EngineBuilder::share_database) to have its tables made beside these",
                self.name_others()
            );
            return Err(Error::new(ErrorKind::Config, message).permanent());
        }
        Ok(())
    }

    /// Says by which columns a table is not goku's; `None` where it is, or is not there.
    fn foreign(&self, own: &OwnTable) -> Option<String> {
        let found = self.alike.get(own.name)?;
        let missing: Vec<&str> = own
            .columns
            .iter()
            .copied()
            .filter(|column| !found.contains(*column))
            .collect();
        (!missing.is_empty()).then(|| format!("{} has no {}", own.name, missing.join(", ")))
    }

    /// Whether these are the tables of the Go program of the same name.
    fn are_the_originals(&self) -> bool {
        let has = |table: &str, columns: &[&str]| {
            let found = self.alike.get(table);
            found.is_some_and(|found| {
                columns.iter().all(|column| found.contains(*column)) && !found.contains("value_bytes")
            })
        };
        has(
            "data",
            &[
                "key",
                "value",
                "version",
                "created_ref",
                "updated_ref",
                "deleted_ref",
                "lease_id",
            ],
        ) && has("events", &["id", "type", "key", "timestamp", "metadata"])
            && has("leases", &["id", "version", "expires_at", "expired"])
    }

    fn name_others(&self) -> String {
        let named = self.others.iter().take(OTHERS_NAMED_MAX).map(String::as_str);
        let more = (self.others.len() > OTHERS_NAMED_MAX).then_some("and more");
        named.chain(more).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [OwnTable; 2] = [
        OwnTable {
            name: "data",
            columns: &["key", "value_bytes"],
        },
        OwnTable {
            name: "head",
            columns: &["format"],
        },
    ];

    fn tables(alike: &[(&str, &str)], others: &[&str]) -> Tables {
        let mut tables = Tables::default();
        for (table, columns) in alike {
            for column in columns.split(' ') {
                tables.add_column(table, column);
            }
        }
        for other in others {
            tables.add_other((*other).to_owned());
        }
        tables
    }

    #[test]
    fn an_empty_database_and_one_with_a_part_of_the_tables_are_taken() {
        for found in [
            tables(&[], &[]),
            tables(&[("data", "key value_bytes more")], &[]),
            // Tables that were made there on purpose at an earlier start.
            tables(&[("data", "key value_bytes")], &["users"]),
        ] {
            assert!(found.check(&OWN, Sharing::Refused).is_ok(), "{found:?}");
        }
    }

    #[test]
    fn other_programs_are_left_alone_unless_told() {
        let found = tables(&[], &["orders", "users"]);
        let error = found.check(&OWN, Sharing::Refused).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.is_permanent());
        assert!(error.message().contains("(orders, users)"), "{error}");
        assert!(error.message().contains("--share-database"), "{error}");
        assert!(found.check(&OWN, Sharing::Allowed).is_ok());
    }

    #[test]
    fn a_table_of_another_program_with_a_name_of_ours_is_refused_whatever_is_allowed() {
        let found = tables(&[("head", "id name"), ("data", "key value_bytes")], &[]);
        for sharing in [Sharing::Refused, Sharing::Allowed] {
            let error = found.check(&OWN, sharing).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("(head has no format)"), "{error}");
        }
    }

    #[test]
    fn only_some_of_many_are_named() {
        let names: Vec<String> = (0..=OTHERS_NAMED_MAX).map(|number| format!("t{number:02}")).collect();
        let found = tables(&[], &names.iter().map(String::as_str).collect::<Vec<_>>());
        let error = found.check(&OWN, Sharing::Refused).unwrap_err();
        assert!(error.message().contains("t08, t09, and more)"), "{error}");
    }
}
