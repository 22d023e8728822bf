//! Secrets in files of their own.

use std::path::PathBuf;

use goku::secret_file;

/// Bytes of a secret.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// How a credential of systemd is named, which lies in the folder that the variable names.
const CREDENTIAL: &str = "credential:";
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Reads a secret: the text of a file without the end of its last line. `credential:NAME` is a credential that systemd hands
/// to the unit.
///
/// The error says why there is none, and nothing of what the file holds.
pub(crate) fn read(name: &str) -> Result<String, String> {
    let path = path(name)?;
    let shown = path.display();
    let bytes = secret_file::read(&path, SECRET_BYTES_MAX).map_err(|error| error.message().to_owned())?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{shown} is not UTF-8"))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(format!("{shown} is empty"));
    }
    Ok(line.to_owned())
}

/// The path of a file with a secret.
pub(super) fn path(name: &str) -> Result<PathBuf, String> {
    let Some(credential) = name.strip_prefix(CREDENTIAL) else {
        return Ok(name.into());
    };
    if credential.is_empty() || credential.contains('/') || credential == ".." {
        return Err(format!("{name:?} names no credential: write credential:NAME"));
    }
    match std::env::var_os(CREDENTIALS_DIRECTORY) {
        Some(folder) => Ok(PathBuf::from(folder).join(credential)),
        None => Err(format!(
            "there are no credentials here: {CREDENTIALS_DIRECTORY} is not set, as systemd does for a unit with \
             LoadCredential={credential}:PATH"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{Permissions, set_permissions, write};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_secret_is_one_text_that_others_cannot_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let name = path.to_str().unwrap();
        let put = |bytes: &[u8], mode| {
            write(&path, bytes).unwrap();
            set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read(name)
        };
        for (bytes, secret) in [(&b"a b"[..], "a b"), (b"a\n", "a"), (b"a\r\n", "a"), (b"a\n\n", "a\n")] {
            assert_eq!(put(bytes, 0o640).as_deref(), Ok(secret));
        }
        for mode in [0o644, 0o602, 0o601] {
            assert!(put(b"hush", mode).unwrap_err().contains("chmod o= "), "{mode:o}");
        }
        let long = vec![b'x'; 64 * 1024 + 1];
        for (bytes, why) in [
            (&b"\n"[..], "empty"),
            (b"hush\xff", "not UTF-8"),
            (&long, "more than 65536 bytes"),
        ] {
            let refused = put(bytes, 0o600).unwrap_err();
            assert!(refused.contains(why) && !refused.contains("hush"), "{refused}");
        }
        assert!(
            read("/nowhere/at/all")
                .unwrap_err()
                .contains("cannot read /nowhere/at/all")
        );
        for name in ["credential:", "credential:a/b", "credential:.."] {
            assert!(read(name).unwrap_err().contains("names no credential"), "{name}");
        }
    }
}
