//! The bearer token that a client sends with each call.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use goku::outage::Outage;
use goku::secret_file;
use goku::{Error, ErrorKind, Result};
use http::HeaderValue;
use tokio::time::Instant;

/// The bytes of a token, at most: servers take few more in a header.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// The time for which a file's token is sent without looking at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A bearer token, sent as the metadata `authorization` of each call. Its text form does not show it.
#[derive(Clone)]
pub struct Token(Source);

#[derive(Clone)]
enum Source {
    Fixed(HeaderValue),
    File(Arc<TokenFile>),
}

struct TokenFile {
    path: PathBuf,
    last: Mutex<Last>,
    /// Held by the one who reads the file.
    reading: tokio::sync::Mutex<()>,
    outage: Outage,
}

/// What the file had at last.
struct Last {
    header: HeaderValue,
    looked_at: Instant,
}

impl Token {
    /// A token that stays the same.
    ///
    /// # Errors
    ///
    /// - `Config`: it is empty, longer than 8 KiB, or has other characters than printable ones of ASCII.
    pub fn new(token: &str) -> Result<Token> {
        header(token, "the token").map(|header| Token(Source::Fixed(header)))
    }

    /// The token in a file, without white space around it. The file is read now, which blocks, and again by the first call a
    /// second or more after that; while it cannot be, the token of before is sent, and the log says so.
    ///
    /// # Errors
    ///
    /// - `Config`: the file cannot be read, or holds no token as [`new`](Self::new) takes them.
    pub fn from_file(path: impl Into<PathBuf>) -> Result<Token> {
        let path = path.into();
        let header = read(&path)?;
        Ok(Token(Source::File(Arc::new(TokenFile {
            last: Mutex::new(Last {
                header,
                looked_at: Instant::now(),
            }),
            reading: tokio::sync::Mutex::default(),
            outage: Outage::new("reads of the token's file").at(path.display().to_string()),
            path,
        }))))
    }

    /// The value of the header, where no file has to be looked at for it.
    pub(super) fn known(&self) -> Option<HeaderValue> {
        match &self.0 {
            Source::Fixed(header) => Some(header.clone()),
            Source::File(file) => file.known(),
        }
    }

    /// The value of the header.
    pub(super) async fn current(&self) -> HeaderValue {
        match &self.0 {
            Source::Fixed(header) => header.clone(),
            Source::File(file) => file.current().await,
        }
    }
}

impl TokenFile {
    fn known(&self) -> Option<HeaderValue> {
        let last = self.last();
        (last.looked_at.elapsed() < LOOK_INTERVAL).then(|| last.header.clone())
    }

    async fn current(self: &Arc<TokenFile>) -> HeaderValue {
        let _one = self.reading.lock().await;
        if let Some(header) = self.known() {
            return header;
        }
        let file = self.clone();
        let read = tokio::task::spawn_blocking(move || read(&file.path)).await;
        let read = read.unwrap_or_else(|error| {
            Err(Error::new(ErrorKind::Internal, "the token's file could not be read").with_source(error))
        });
        let mut last = self.last();
        last.looked_at = Instant::now();
        match read {
            Ok(header) => {
                self.outage.worked();
                last.header = header;
            }
            Err(error) => self.outage.failed(&error),
        }
        last.header.clone()
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        // Nothing panics while it is locked.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<HeaderValue> {
    let name = format!("the token in {}", path.display());
    let content = secret_file::read_public(path, 2 * TOKEN_BYTES_MAX as u64)?;
    let token =
        std::str::from_utf8(&content).map_err(|_| Error::new(ErrorKind::Config, format!("{name} is not text")))?;
    header(token.trim(), &name)
}

fn header(token: &str, name: &str) -> Result<HeaderValue> {
    let refused = |why: &str| Error::new(ErrorKind::Config, format!("{name} {why}"));
    if token.is_empty() {
        return Err(refused("is empty: leave it out, or give one"));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(refused(&format!("has more than {TOKEN_BYTES_MAX} bytes")));
    }
    if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused(
            "has characters that no token has: a space, a line's end, or others than those of ASCII",
        ));
    }
    let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| refused("cannot be sent"))?;
    header.set_sensitive(true);
    Ok(header)
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Fixed(_) => f.write_str("Token(..)"),
            Source::File(file) => f.debug_tuple("Token").field(&file.path).finish(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_one_is_refused_and_not_shown() {
        for token in ["", "se cret", "secret\n", "sécret", &"s".repeat(TOKEN_BYTES_MAX + 1)] {
            let error = Token::new(token).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(token.is_empty() || !error.message().contains(token), "{error}");
        }
        let token = Token::new("secret").unwrap();
        assert_eq!(format!("{token:?} {:?}", token.known()), "Token(..) Some(Sensitive)");
    }

    #[tokio::test]
    async fn a_file_is_read_again_when_it_may_have_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "one\n").unwrap();
        let token = Token::from_file(&path).unwrap();
        let pass_time = || match &token.0 {
            Source::File(file) => file.last().looked_at -= LOOK_INTERVAL,
            Source::Fixed(_) => unreachable!("it is that of a file"),
        };
        std::fs::write(&path, "two").unwrap();
        assert_eq!(token.current().await, "Bearer one");
        pass_time();
        assert_eq!(token.known(), None);
        assert_eq!(token.current().await, "Bearer two");
        // A file that is gone changes nothing.
        std::fs::remove_file(&path).unwrap();
        pass_time();
        assert_eq!(token.current().await, "Bearer two");
    }
}
