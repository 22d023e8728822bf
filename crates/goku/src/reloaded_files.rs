//! Files whose content something is made of, and made anew when it changes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, ErrorKind, Result};

/// The interval at which the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// The time for which changed files have to stay as they are before they are taken: several are replaced one after another.
const SETTLE_TIME: Duration = Duration::from_secs(1);

/// Files, and how something is made of them.
pub trait FromFiles: Send + Sync + 'static {
    /// The content of the files at one time.
    type Contents: Clone + PartialEq + Send + 'static;
    /// The thing that is made of it.
    type Made: Send + Sync + 'static;

    /// The line of the log where they were reloaded.
    const RELOADED: &'static str;
    /// The line of the log where they could not be.
    const NOT_RELOADED: &'static str;

    /// Reads the files. It may block.
    ///
    /// # Errors
    ///
    /// - `Config`: a file cannot be read. The message names it.
    fn read(&self) -> Result<Self::Contents>;

    /// Checks the contents at the time `now`, and makes something of them.
    ///
    /// # Errors
    ///
    /// - `Config`: they cannot be used. The message names the file and says what to do.
    fn make(&self, contents: &Self::Contents, now: Timestamp) -> Result<Self::Made>;

    /// Looks at what is in use, for what grows old by itself: whenever the files are looked at, and when they are taken.
    fn look_at(&self, _made: &Self::Made, _now: Timestamp) {}
}

/// Something that is made of files, and made anew as a whole when they have changed: by [`watch`](Self::watch) some seconds later,
/// by [`reload`](Self::reload) at once. Files that cannot be used change nothing. Clones share it.
pub struct ReloadedFiles<F: FromFiles>(Arc<Inner<F>>);

struct Inner<F: FromFiles> {
    files: F,
    clock: Arc<dyn Clock>,
    made: RwLock<Arc<F::Made>>,
    looks: Mutex<Looks<F>>,
    reload_failures: AtomicU64,
}

/// The content of the files, as it was seen.
struct Looks<F: FromFiles> {
    /// The content that was last tried, or why it could not be read.
    tried: Seen<F>,
    was_taken: bool,
    /// A content that was seen once, and is tried if it is there at the next look.
    settling: Option<Seen<F>>,
}

type Seen<F> = Result<<F as FromFiles>::Contents, String>;

/// Files that have changed and can be used.
pub struct ChangedFiles<F: FromFiles> {
    inner: Arc<Inner<F>>,
    made: F::Made,
}

impl<F: FromFiles> ChangedFiles<F> {
    /// Uses them from now on.
    pub fn take(self) {
        let mut looks = self.inner.looks();
        self.inner.swap(&mut looks, self.made);
    }
}

impl<F: FromFiles> ReloadedFiles<F> {
    /// Reads the files. It blocks.
    ///
    /// # Errors
    ///
    /// - `Config`: they cannot be read or used.
    pub fn load(files: F) -> Result<ReloadedFiles<F>> {
        ReloadedFiles::load_at(files, Arc::new(SystemClock))
    }

    /// Like [`load`](Self::load), with another clock than that of the system.
    ///
    /// # Errors
    ///
    /// The errors of [`load`](Self::load).
    pub fn load_at(files: F, clock: Arc<dyn Clock>) -> Result<ReloadedFiles<F>> {
        let contents = files.read()?;
        let made = files.make(&contents, clock.now())?;
        files.look_at(&made, clock.now());
        Ok(ReloadedFiles(Arc::new(Inner {
            files,
            clock,
            made: RwLock::new(Arc::new(made)),
            looks: Mutex::new(Looks {
                tried: Ok(contents),
                was_taken: true,
                settling: None,
            }),
            reload_failures: AtomicU64::new(0),
        })))
    }

    /// The thing that was made of the files as they were last taken.
    pub fn current(&self) -> Arc<F::Made> {
        self.0.current()
    }

    /// The files themselves.
    pub fn files(&self) -> &F {
        &self.0.files
    }

    /// Reads the files again and takes them if they have changed; returns whether they had. It blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`check`](Self::check).
    pub fn reload(&self) -> Result<bool> {
        let changed = self.check()?;
        Ok(changed.map(ChangedFiles::take).is_some())
    }

    /// Reads the files again and checks them, without taking them; returns `None` where they have not changed. It blocks.
    ///
    /// # Errors
    ///
    /// The errors of [`load`](Self::load). Then all stays as it is; the log has the error, too, and
    /// [`reload_failures`](Self::reload_failures) counts it.
    pub fn check(&self) -> Result<Option<ChangedFiles<F>>> {
        let read = self.0.files.read();
        let mut looks = self.0.looks();
        looks.settling = None;
        if looks.was_taken && read.as_ref().ok() == looks.tried.as_ref().ok() {
            return Ok(None);
        }
        let made = self.0.check(&mut looks, &read)?;
        Ok(Some(ChangedFiles {
            inner: self.0.clone(),
            made,
        }))
    }

    /// Reloads the files when they change, for ever: within 11 seconds. A content that cannot be used is logged and counted
    /// once.
    pub async fn watch(&self) {
        loop {
            let inner = self.0.clone();
            let read = tokio::task::spawn_blocking(move || inner.files.read()).await;
            let read = read.unwrap_or_else(|error| {
                Err(Error::new(ErrorKind::Internal, "files could not be read").with_source(error))
            });
            tokio::time::sleep(self.0.look(read)).await;
        }
    }

    /// Changes of the files that could not be used, and calls of [`reload`](Self::reload) that failed.
    pub fn reload_failures(&self) -> u64 {
        self.0.reload_failures.load(Ordering::Relaxed)
    }
}

impl<F: FromFiles> Clone for ReloadedFiles<F> {
    fn clone(&self) -> ReloadedFiles<F> {
        ReloadedFiles(self.0.clone())
    }
}

impl<F: FromFiles> Inner<F> {
    fn current(&self) -> Arc<F::Made> {
        // What is there is whole at any moment.
        self.made.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the content of the files if it has changed and is there for the second time; returns the time until the next look.
    fn look(&self, read: Result<F::Contents>) -> Duration {
        let seen = seen::<F>(&read);
        let mut looks = self.looks();
        self.files.look_at(&self.current(), self.clock.now());
        if seen == looks.tried {
            looks.settling = None;
            // What could not be used, such as a certificate that is not valid yet, may have become usable by itself.
            if !looks.was_taken
                && let Ok(contents) = &read
                && let Ok(made) = self.files.make(contents, self.clock.now())
            {
                self.swap(&mut looks, made);
            }
            return LOOK_INTERVAL;
        }
        if looks.settling.as_ref() != Some(&seen) {
            looks.settling = Some(seen);
            return SETTLE_TIME;
        }
        looks.settling = None;
        // Where there is an error, the log has it.
        if let Ok(made) = self.check(&mut looks, &read) {
            self.swap(&mut looks, made);
        }
        LOOK_INTERVAL
    }

    /// Makes something of the content of the files, if it can be used.
    fn check(&self, looks: &mut Looks<F>, read: &Result<F::Contents>) -> Result<F::Made> {
        looks.tried = seen::<F>(read);
        looks.was_taken = false;
        let contents = read.as_ref().map_err(Clone::clone);
        let made = contents.and_then(|contents| self.files.make(contents, self.clock.now()));
        made.inspect_err(|error| {
            self.reload_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "{}", F::NOT_RELOADED);
        })
    }

    fn swap(&self, looks: &mut Looks<F>, made: F::Made) {
        looks.was_taken = true;
        self.files.look_at(&made, self.clock.now());
        *self.made.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(made);
        tracing::info!("{}", F::RELOADED);
    }

    fn looks(&self) -> MutexGuard<'_, Looks<F>> {
        // Nothing panics while it is locked.
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn seen<F: FromFiles>(read: &Result<F::Contents>) -> Seen<F> {
    read.as_ref().cloned().map_err(Error::to_string)
}

#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::secret_file;

    /// A file with a number in it.
    struct NumberFile(PathBuf);

    impl FromFiles for NumberFile {
        type Contents = Vec<u8>;
        type Made = i64;
        const RELOADED: &'static str = "the number was reloaded";
        const NOT_RELOADED: &'static str = "the number was not reloaded";

        fn read(&self) -> Result<Vec<u8>> {
            secret_file::read_public(&self.0, 100)
        }

        fn make(&self, contents: &Vec<u8>, _: Timestamp) -> Result<i64> {
            let number = std::str::from_utf8(contents).ok().and_then(|text| text.parse().ok());
            number.ok_or_else(|| Error::new(ErrorKind::Config, "no number"))
        }
    }

    /// As Kubernetes replaces a secret: by another target of a link.
    #[test]
    fn changed_files_are_taken_once_they_stay_and_those_that_cannot_be_used_are_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let (first, second, broken) = (put("first", "1"), put("second", "2"), put("broken", "none"));
        let (data, next) = (folder.path().join("data"), folder.path().join("next"));
        let point_to = |target: &Path| {
            symlink(target, &next).unwrap();
            fs::rename(&next, &data).unwrap();
        };
        point_to(&first);
        let number = ReloadedFiles::load(NumberFile(data.clone())).unwrap();
        let look = || number.0.look(number.0.files.read());
        assert_eq!(look(), LOOK_INTERVAL);

        point_to(&broken);
        assert_eq!((look(), number.reload_failures()), (SETTLE_TIME, 0));
        for _ in 0..3 {
            assert_eq!((look(), number.reload_failures()), (LOOK_INTERVAL, 1));
        }
        fs::remove_file(&data).unwrap();
        assert_eq!((look(), number.reload_failures()), (SETTLE_TIME, 1));
        assert_eq!((look(), number.reload_failures()), (LOOK_INTERVAL, 2));
        assert_eq!(*number.current(), 1);

        point_to(&second);
        assert_eq!(look(), SETTLE_TIME);
        assert_eq!(*number.current(), 1);
        assert_eq!(look(), LOOK_INTERVAL);
        assert_eq!(*number.current(), 2);
        assert!(!number.reload().unwrap(), "what is there was taken");
        assert_eq!(number.reload_failures(), 2);
    }
}
