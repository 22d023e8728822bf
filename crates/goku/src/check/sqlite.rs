//! Judgements of a SQLite file: whether it can be written, whether it is whole, and how much room it has.

use std::path::Path;

use super::contents::mebibytes;
use super::finding::{Finding, Subject};

/// The bytes left on the disk of the file below which there is a warning.
pub(crate) const DISK_BYTES_WARN: u64 = 1024 * 1024 * 1024;

/// The bytes left on the disk of the file below which it is an error: the log alone takes up to 80 MiB.
pub(crate) const DISK_BYTES_MIN: u64 = 128 * 1024 * 1024;

/// The oldest version of SQLite whose write-ahead log is known to lose nothing where two connections reset it at once.
const VERSION_MIN: i32 = 3_051_003;

/// The rights of this process on a file and its folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileRights {
    /// `None` where there is no file.
    pub(crate) file_is_writable: Option<bool>,
    pub(crate) folder_is_writable: bool,
    /// Whether users other than the owner and the group may write to the file.
    pub(crate) others_may_write: bool,
}

/// Judges the version that is built in, as SQLite tells it as a number.
pub(crate) fn version(text: &str, number: i32) -> Finding {
    const VERSION: Subject = Subject::database("version");
    match number < VERSION_MIN {
        true => VERSION.warning(
            format!("SQLite {text} may lose what is in its log where two connections begin it anew at once"),
            "build goku with SQLite 3.51.3 or later",
        ),
        false => VERSION.ok(format!("SQLite {text}")),
    }
}

/// Judges a database in memory.
pub(crate) fn memory() -> Finding {
    Subject::database("file").warning(
        "the store is in memory: nothing is kept when the server ends",
        "`--store sqlite:PATH` where something is to be kept",
    )
}

/// Judges the rights on a file.
pub(crate) fn file(path: &Path, rights: FileRights) -> Finding {
    const FILE: Subject = Subject::database("file");
    let shown = path.display();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new(".")).display();
    if !rights.folder_is_writable {
        return FILE.error(
            format!("the folder {folder} cannot be written, and SQLite keeps its log there, beside {shown}"),
            format!("give goku's user the right, as the one who runs goku serve: `chown goku {folder}`"),
        );
    }
    match rights.file_is_writable {
        Some(false) => FILE.error(format!("{shown} cannot be written"), format!("`chown goku {shown}`")),
        None => FILE.ok(format!("{shown} is not there yet: the first start makes it")),
        Some(true) if rights.others_may_write => FILE.warning(
            format!("every user of this machine may write to {shown}"),
            format!("`chmod o-w {shown}`"),
        ),
        Some(true) => FILE.ok(format!("{shown} can be written")),
    }
}

/// Judges a file that a server has open: what is in it is not looked at.
pub(crate) fn in_use(path: &Path) -> Finding {
    Subject::database("in_use").ok(format!(
        "a server has {} open, and nobody else can read it meanwhile: `goku check --server ADDRESS` asks that server for the rest",
        path.display()
    ))
}

/// Judges the mode of the journal.
pub(crate) fn journal_mode(mode: &str) -> Finding {
    const JOURNAL: Subject = Subject::database("journal_mode");
    match mode.eq_ignore_ascii_case("wal") {
        true => JOURNAL.ok("wal"),
        false => JOURNAL.warning(
            format!("{mode}: the next start makes it wal; where it does not, the file system has no shared memory, as over a network"),
            "keep the file on a disk of this machine",
        ),
    }
}

/// Judges what `quick_check` said.
pub(crate) fn integrity(told: &[String]) -> Finding {
    const INTEGRITY: Subject = Subject::database("integrity");
    match told {
        [only] if only == "ok" => INTEGRITY.ok("the pages of the file are whole"),
        [] => INTEGRITY.error("the check of the file said nothing", "`sqlite3 FILE 'pragma integrity_check'`"),
        [first, ..] => INTEGRITY.error(
            format!("the file is damaged: {}", first.trim()),
            "stop the server, keep the file and its -wal, and restore a backup; `sqlite3 FILE .recover` reads what is left",
        ),
    }
}

/// Judges the bytes that are left on the disk of a file.
pub(crate) fn disk(bytes_left: u64) -> Finding {
    const DISK: Subject = Subject::server("disk");
    let message = format!("{} are left on the disk of the store", mebibytes(bytes_left));
    const ADVICE: &str = "make room, or move the file and its -wal to a larger disk while no server runs";
    match bytes_left {
        0..DISK_BYTES_MIN => DISK.error(format!("{message}: writes fail when there are none"), ADVICE),
        DISK_BYTES_MIN..DISK_BYTES_WARN => DISK.warning(message, ADVICE),
        _ => DISK.ok(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Severity::{Error as Wrong, Ok as Good, Warning};

    #[test]
    fn files_are_judged_by_what_may_be_done_with_them() {
        let severity = |file_is_writable, folder_is_writable, others_may_write| {
            let rights = FileRights {
                file_is_writable,
                folder_is_writable,
                others_may_write,
            };
            file(Path::new("goku.db"), rights).severity
        };
        assert_eq!(severity(Some(true), true, false), Good);
        assert_eq!(severity(None, true, false), Good);
        assert_eq!(severity(Some(true), true, true), Warning);
        assert_eq!(severity(Some(false), true, false), Wrong);
        assert_eq!(severity(Some(true), false, false), Wrong);
        assert_eq!(severity(None, false, false), Wrong);
        assert_eq!(memory().severity, Warning);
    }

    #[test]
    fn the_version_the_journal_and_the_pages_are_judged() {
        assert_eq!(version("3.50.4", 3_050_004).severity, Warning);
        assert_eq!(version("3.51.3", 3_051_003).severity, Good);
        assert_eq!(
            ["wal", "delete"].map(|mode| journal_mode(mode).severity),
            [Good, Warning]
        );
        let told = |lines: &[&str]| {
            let lines: Vec<_> = lines.iter().map(|line| (*line).to_owned()).collect();
            integrity(&lines).severity
        };
        assert_eq!(told(&["ok"]), Good);
        assert_eq!(told(&["Tree 4 page 7: btreeInitPage() returns error code 11"]), Wrong);
        assert_eq!(told(&[]), Wrong);
    }

    #[test]
    fn the_disk_is_judged_by_what_the_log_needs() {
        let severity = |bytes| disk(bytes).severity;
        assert_eq!(
            [
                0,
                DISK_BYTES_MIN - 1,
                DISK_BYTES_MIN,
                DISK_BYTES_WARN - 1,
                DISK_BYTES_WARN
            ]
            .map(severity),
            [Wrong, Wrong, Warning, Warning, Good]
        );
    }
}
