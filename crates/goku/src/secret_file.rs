//! Files with a secret in them, such as a private key.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::Path;

use crate::error::{Error, ErrorKind, Result};

/// Reads a file of at most `bytes_max` bytes that only its owner and its group may read.
///
/// # Errors
///
/// - `Config`: the file cannot be read, is larger, or is open to others than its owner and its group. The message says what to do.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let (bytes, metadata) = read_open(path, bytes_max)?;
    if others_can_read(&metadata) {
        let shown = path.display();
        let message =
            format!("others can read {shown}, which holds a secret: take their rights with `chmod o= {shown}`");
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok(bytes)
}

/// Reads a file of at most `bytes_max` bytes that anybody may read.
///
/// # Errors
///
/// - `Config`: the file cannot be read, or is larger.
pub fn read_public(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    read_open(path, bytes_max).map(|(bytes, _)| bytes)
}

/// The content of a file, and the rights of that very file: the path may name another one a moment later.
fn read_open(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, Metadata)> {
    let read = || {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        let mut bytes = Vec::new();
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        Ok((bytes, metadata))
    };
    let (bytes, metadata) = read().map_err(|error: std::io::Error| {
        let message = format!("cannot read {}: {error}", path.display());
        Error::new(ErrorKind::Config, message).with_source(error)
    })?;
    if bytes.len() as u64 > bytes_max {
        let message = format!("{} has more than {bytes_max} bytes", path.display());
        return Err(Error::new(ErrorKind::Config, message));
    }
    Ok((bytes, metadata))
}

/// Whether users who neither own the file nor are in its group may do anything with it.
#[cfg(unix)]
pub fn others_can_read(file: &Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.permissions().mode() & 0o007 != 0
}

/// Whether users who neither own the file nor are in its group may do anything with it: not known here.
#[cfg(not(unix))]
pub fn others_can_read(_: &Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_that_others_may_read_is_refused_and_one_of_the_group_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        fs::write(&path, "secret").unwrap();
        for (mode, is_taken) in [
            (0o600, true),
            (0o640, true),
            (0o644, false),
            (0o601, false),
            (0o602, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path, 6).is_ok(), is_taken, "{mode:o}");
        }
        let error = read(&path, 6).unwrap_err();
        assert!(error.message().contains("chmod o="), "{error}");
    }

    #[test]
    fn a_file_that_is_too_large_or_absent_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        assert!(read_public(&path, 3).unwrap_err().message().contains("ca.pem"));
        fs::write(&path, "four").unwrap();
        assert!(read_public(&path, 3).unwrap_err().message().contains("3 bytes"));
        assert_eq!(read_public(&path, 4).unwrap(), b"four");
    }
}
