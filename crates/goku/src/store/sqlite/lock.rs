//! The lock that keeps a second process, or a second store of this one, off a database file.
//!
//! On Linux the lock is a record lock on the file itself, so that it holds by whatever name the file is opened: a symbolic
//! link, a hard link, another mount. It is an open file description's, and of a byte that SQLite neither uses nor locks, so
//! the two do not meet, on NFS either.
//!
//! SQLite's own record locks are the process's: POSIX drops them all where the process closes any descriptor of the file. A
//! descriptor that was opened here therefore stays open for the next store on the file, until the file is deleted.

use std::fs::{File, Metadata, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, ErrorKind, Result};

/// Descriptors of database files that this process has open beside SQLite's, one a file.
static DESCRIPTORS: Mutex<Vec<Descriptor>> = Mutex::new(Vec::new());

/// The source of the error of a file that another store has.
#[derive(Debug, thiserror::Error)]
#[error("the file is locked")]
struct InUse;

/// Whether a file could not be locked because another store has it.
pub(super) fn is_in_use(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<InUse>())
}

/// The identity of a file while it is open, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

struct Descriptor {
    id: FileId,
    file: Arc<File>,
    /// Whether a store has it locked.
    held: bool,
}

/// The lock of a file, held until this is dropped, which must be after SQLite has closed the file.
pub(super) struct FileLock {
    id: FileId,
    path: PathBuf,
    file: Arc<File>,
    /// The lock of earlier versions.
    beside: Option<File>,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> FileId {
        FileId {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }

    /// The file that a name names now.
    ///
    /// On Linux only the number of the file is asked for. A program that asks for the times of a file makes Linux give the
    /// next write a time of its own, since version 6.13 ("multigrain timestamps"), and the sync after that write has to
    /// write the inode, too: measured, 80 to 150 µs of each commit.
    ///
    /// # Errors
    ///
    /// `NotFound` and others of the system.
    #[cfg(target_os = "linux")]
    pub(super) fn named(name: &Path) -> io::Result<FileId> {
        use rustix::fs::{AtFlags, CWD, StatxFlags, makedev, statx};
        use rustix::io::Errno;

        match statx(CWD, name, AtFlags::empty(), StatxFlags::INO) {
            Ok(found) => Ok(FileId {
                device: makedev(found.stx_dev_major, found.stx_dev_minor),
                inode: found.stx_ino,
            }),
            // A kernel before 4.11, or a container that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => Ok(FileId::of(&std::fs::metadata(name)?)),
            Err(failed) => Err(failed.into()),
        }
    }

    /// The file that a name names now.
    ///
    /// # Errors
    ///
    /// `NotFound` and others of the system.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn named(name: &Path) -> io::Result<FileId> {
        Ok(FileId::of(&std::fs::metadata(name)?))
    }
}

impl FileLock {
    /// Opens the database file at `path`, makes it where there is none, and locks it.
    ///
    /// # Errors
    ///
    /// `Config` where another store has the file, where it has several names, and where it can not be opened.
    pub(super) fn take(path: &Path) -> Result<FileLock> {
        let mut lock = take_file(path)?;
        // SQLite keeps its log beside this name.
        lock.path = path.canonicalize().map_err(|failed| cannot_open(path, failed))?;
        lock.beside = take_beside(&lock.path).map_err(|failed| not_locked(path, failed))?;
        Ok(lock)
    }

    /// The file that is locked.
    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// The file's name without symbolic links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Not left to the closing of the descriptors: a process that is being started from another thread has copies of them
        // until it runs its own program.
        let unlocked = self.beside.as_ref().map_or(Ok(()), File::unlock);
        let mut descriptors = descriptors();
        if let Err(error) = unlocked.and(record::unlock(&self.file)) {
            tracing::warn!(%error, "the lock of the SQLite file could not be released");
        }
        for descriptor in descriptors.iter_mut() {
            if Arc::ptr_eq(&descriptor.file, &self.file) {
                descriptor.held = false;
            }
        }
    }
}

fn descriptors() -> MutexGuard<'static, Vec<Descriptor>> {
    DESCRIPTORS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn take_file(path: &Path) -> Result<FileLock> {
    let mut descriptors = descriptors();
    let is_deleted = |file: &File| file.metadata().is_ok_and(|metadata| metadata.nlink() == 0);
    descriptors.retain(|descriptor| descriptor.held || !is_deleted(&descriptor.file));
    let descriptor = open(&mut descriptors, path)?;
    if descriptor.held {
        return Err(in_use(path));
    }
    record::lock(&descriptor.file).map_err(|failed| not_locked(path, failed))?;
    // The error of a file that another store has comes first.
    if let Err(error) = check_names(path, &descriptor.file) {
        record::unlock(&descriptor.file).map_err(|failed| cannot_open(path, failed))?;
        return Err(error);
    }
    descriptor.held = true;
    Ok(FileLock {
        id: descriptor.id,
        path: path.to_owned(),
        file: descriptor.file.clone(),
        beside: None,
    })
}

/// Refuses a file that has several names.
fn check_names(path: &Path, file: &File) -> Result<()> {
    let names = file.metadata().map_err(|failed| cannot_open(path, failed))?.nlink();
    if names <= 1 {
        return Ok(());
    }
    let message = format!(
        "{} has {names} names (hard links), and SQLite would find what it wrote last by one of them only: remove the others \
         (`find -samefile` lists them), or copy the file",
        path.display()
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The descriptor of the file at `path`, opened unless there is one.
fn open<'d>(descriptors: &'d mut Vec<Descriptor>, path: &Path) -> Result<&'d mut Descriptor> {
    let found = match std::fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => {
            let message = format!(
                "{0} is a folder: name a file in it, such as sqlite:{0}/goku.db",
                path.display()
            );
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(metadata) if !metadata.is_file() => {
            let message = format!("{} is neither a file nor a folder: name a file", path.display());
            return Err(Error::new(ErrorKind::Config, message));
        }
        Ok(metadata) => {
            let id = FileId::of(&metadata);
            descriptors.iter().position(|descriptor| descriptor.id == id)
        }
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => None,
        Err(failed) => return Err(cannot_open(path, failed)),
    };
    let index = match found {
        Some(index) => index,
        None => {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(false).mode(0o644);
            let file = options.open(path).map_err(|failed| cannot_open(path, failed))?;
            let metadata = file.metadata().map_err(|failed| cannot_open(path, failed))?;
            descriptors.push(Descriptor {
                id: FileId::of(&metadata),
                file: Arc::new(file),
                held: false,
            });
            descriptors.len() - 1
        }
    };
    Ok(&mut descriptors[index])
}

/// Takes the lock that earlier versions took, so that they keep off a file that this one has, and this one off theirs. On
/// Linux it is taken only where they left its file.
fn take_beside(path: &Path) -> Result<Option<File>, TryLockError> {
    let mut name = path.as_os_str().to_owned();
    name.push("-lock");
    let mut options = File::options();
    options.create(!record::LOCKS).truncate(false).write(true);
    let file = match options.open(name) {
        Ok(file) => file,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(failed) => return Err(TryLockError::Error(failed)),
    };
    file.try_lock()?;
    Ok(Some(file))
}

fn cannot_open(path: &Path, failed: io::Error) -> Error {
    let advice = match failed.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "it cannot be written: give its user the right, or use another file"
        }
        _ => "check that its folder exists and can be written",
    };
    let message = format!("cannot open {}: {failed}; {advice}", path.display());
    Error::new(ErrorKind::Config, message).with_source(failed)
}

fn not_locked(path: &Path, failed: TryLockError) -> Error {
    match failed {
        TryLockError::WouldBlock => in_use(path),
        TryLockError::Error(failed) => {
            let message = format!("cannot lock {}: {failed}", path.display());
            Error::new(ErrorKind::Config, message).with_source(failed)
        }
    }
}

fn in_use(path: &Path) -> Error {
    let message = format!(
        "{} is in use by another goku: a SQLite file has one server; connect to that one, or use another file",
        path.display()
    );
    Error::new(ErrorKind::Config, message).with_source(InUse)
}

/// The record lock of an open file description.
#[cfg(target_os = "linux")]
mod record {
    use std::fs::{File, TryLockError};
    use std::io;

    use nix::errno::Errno;
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    /// Whether the platform has such locks.
    pub(super) const LOCKS: bool = true;

    /// The byte that is locked. SQLite locks the 512 bytes from 2^30 on, and has no data in the page that they are in, which
    /// has 512 bytes at least.
    const BYTE: libc::off_t = 0x4000_0000 + 512;

    pub(super) fn lock(file: &File) -> Result<(), TryLockError> {
        match set(file, libc::F_WRLCK) {
            Ok(_) => Ok(()),
            Err(Errno::EAGAIN | Errno::EACCES) => Err(TryLockError::WouldBlock),
            Err(failed) => Err(TryLockError::Error(failed.into())),
        }
    }

    pub(super) fn unlock(file: &File) -> io::Result<()> {
        set(file, libc::F_UNLCK)?;
        Ok(())
    }

    fn set(file: &File, kind: libc::c_int) -> nix::Result<libc::c_int> {
        let record = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: BYTE,
            l_len: 1,
            l_pid: 0,
        };
        fcntl(file, FcntlArg::F_OFD_SETLK(&record))
    }
}

/// No record lock where it could not be told from SQLite's: the lock beside the file is all there is.
#[cfg(not(target_os = "linux"))]
mod record {
    use std::fs::{File, TryLockError};
    use std::io;

    pub(super) const LOCKS: bool = false;

    pub(super) fn lock(_file: &File) -> Result<(), TryLockError> {
        Ok(())
    }

    pub(super) fn unlock(_file: &File) -> io::Result<()> {
        Ok(())
    }
}
