//! The facts of a database file, gathered for their judgement ([`check`](crate::check)): nothing is made or changed.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::lock::{self, FileLock};
use super::{Location, cursors, error, schema, settings};
use crate::check::{self, FileRights, Finding, Subject};
use crate::clock::Clock;
use crate::cursor::CursorsRequest;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Position, Snapshot};
use crate::limits::CURSORS_MAX;
use crate::store::tables::Sharing;

/// Lines of what is damaged.
const DAMAGES_MAX: usize = 10;

/// The right of others than owner and group to write.
const WRITE_BY_OTHERS: u32 = 0o002;

/// Judges a file and what is in it; while a server has it open, only the file.
///
/// # Errors
///
/// - `Internal`: the thread that looks at it ended.
pub(crate) async fn examine(location: Location, sharing: Sharing, clock: impl Clock) -> Result<Vec<Finding>> {
    tokio::task::spawn_blocking(move || examine_blocking(&location, sharing, &clock))
        .await
        .map_err(|error| Error::new(ErrorKind::Internal, "looking at the database failed").with_source(error))
}

fn examine_blocking(location: &Location, sharing: Sharing, clock: &dyn Clock) -> Vec<Finding> {
    let mut findings = vec![check::sqlite_version(rusqlite::version(), rusqlite::version_number())];
    let Location::File(path) = location else {
        findings.push(check::memory());
        return findings;
    };
    let folder = folder(path);
    let rights = match rights(path, &folder) {
        Ok(rights) => rights,
        Err(failed) => {
            let message = format!("cannot look at {}: {failed}", path.display());
            findings.push(Subject::database("file").error(message, format!("check that {} exists", folder.display())));
            return findings;
        }
    };
    findings.push(check::file(path, rights));
    findings.extend(bytes_left(&folder).map(check::disk));
    if rights.folder_is_writable && rights.file_is_writable == Some(true) {
        examine_file(path, sharing, clock, &mut findings);
    }
    findings
}

/// Judges what is in a file that can be written, unless a server has it open.
fn examine_file(path: &Path, sharing: Sharing, clock: &dyn Clock, findings: &mut Vec<Finding>) {
    let lock = match FileLock::take(path) {
        Ok(lock) => lock,
        Err(error) => {
            findings.push(match lock::is_in_use(&error) {
                true => check::in_use(path),
                false => Subject::database("file").failed(&error),
            });
            return;
        }
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(lock.path(), flags).map_err(error::opening);
    let examined = opened.and_then(|mut connection| examine_tables(&mut connection, sharing, clock, findings));
    if let Err(error) = examined {
        let context = format!("{} could not be looked at in full", path.display());
        findings.push(Subject::database("integrity").failed(&error.context(context)));
    }
}

fn examine_tables(
    connection: &mut Connection,
    sharing: Sharing,
    clock: &dyn Clock,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    findings.push(check::integrity(&damages(connection).map_err(error::reading)?));
    if let Err(error) = schema::recognise(connection, sharing) {
        findings.push(Subject::store("tables").failed(&error));
        return Ok(());
    }
    let format = format(connection).map_err(error::reading)?;
    findings.push(check::format(format, schema::FORMAT));
    if format.is_none() {
        return Ok(());
    }
    let mode = connection.query_row("pragma journal_mode", [], |row| row.get::<_, String>(0));
    findings.push(check::journal_mode(&mode.map_err(error::reading)?));
    findings.push(check::log_bytes(schema::bytes(connection).map_err(error::reading)?));
    if format != Some(schema::FORMAT) {
        return Ok(());
    }
    let head = schema::head(connection).map_err(error::reading)?;
    let head = Snapshot {
        epoch: head.epoch,
        position: Position {
            id: head.last_event,
            tag: head.last_tag,
        },
        rev: None,
    };
    let request = CursorsRequest {
        limit: Some(CURSORS_MAX),
        ..CursorsRequest::default()
    };
    let cursors = cursors::page(connection, &request).map_err(error::reading)?;
    findings.push(check::epoch(&head, &cursors));
    findings.push(check::cursors(&cursors, &head, clock.now()));
    findings.push(check::settings(settings::all(connection)?.iter()));
    Ok(())
}

/// The format of the tables; `None` where there are none.
fn format(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    let heads: i64 = connection.query_row(
        "select count(*) from sqlite_schema where type = 'table' and name = 'head'",
        [],
        |row| row.get(0),
    )?;
    if heads == 0 {
        return Ok(None);
    }
    connection
        .query_row("select format from head", [], |row| row.get(0))
        .optional()
}

/// What SQLite says of the pages of the file: `ok`, or what is damaged.
fn damages(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("pragma quick_check({DAMAGES_MAX})"))?;
    let lines = statement.query_map([], |row| row.get(0))?;
    lines.collect()
}

/// The folder of a file, that of the file itself where its name is a link to it.
fn folder(path: &Path) -> PathBuf {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

fn rights(path: &Path, folder: &Path) -> io::Result<FileRights> {
    let file = match std::fs::metadata(path) {
        Ok(file) => Some(file),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
        Err(failed) => return Err(failed),
    };
    Ok(FileRights {
        folder_is_writable: may_write(folder, &std::fs::metadata(folder)?),
        file_is_writable: file.as_ref().map(|file| may_write(path, file)),
        others_may_write: file.is_some_and(|file| file.permissions().mode() & WRITE_BY_OTHERS != 0),
    })
}

/// Whether this process may write to a file or a folder.
#[cfg(target_os = "linux")]
fn may_write(path: &Path, _metadata: &Metadata) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok()
}

/// Whether somebody may write to a file or a folder.
#[cfg(not(target_os = "linux"))]
fn may_write(_path: &Path, metadata: &Metadata) -> bool {
    !metadata.permissions().readonly()
}

/// The bytes that are left on the disk of a folder; `None` where the system does not tell.
#[cfg(target_os = "linux")]
fn bytes_left(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Nothing, as only Linux is asked.
#[cfg(not(target_os = "linux"))]
fn bytes_left(_folder: &Path) -> Option<u64> {
    None
}
