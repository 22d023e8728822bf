//! The moment by which a caller wants to be answered.

use tokio::time::Instant;

tokio::task_local! {
    static END: Instant;
}

/// Polls a call of an [`Engine`](crate::Engine) whose caller waits for it until `end`, if not for a shorter time.
///
/// A write is then answered before `end` with what is known of it, such as why the store cannot apply it, where otherwise the
/// caller would give up first and know nothing. All polls of the call are to be made so.
///
/// ```
/// use std::future::poll_fn;
/// use std::pin::pin;
/// use std::time::Duration;
///
/// use goku::{Client, Engine, Key, SetRequest};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> goku::Result<()> {
/// let engine = Engine::open("sqlite::memory:").await?;
/// let end = Instant::now() + Duration::from_secs(2);
/// let mut set = pin!(engine.set(SetRequest::new(Key::new("k")?, "v")));
/// poll_fn(|cx| goku::deadline::with_end(end, || set.as_mut().poll(cx))).await?;
/// # Ok(())
/// # }
/// ```
pub fn with_end<T>(end: Instant, poll: impl FnOnce() -> T) -> T {
    END.sync_scope(end, poll)
}

/// Returns the moment that the caller of this poll named, if it named one.
#[cfg(any(feature = "sqlite", feature = "mysql"))]
pub(crate) fn end() -> Option<Instant> {
    END.try_with(|end| *end).ok()
}
