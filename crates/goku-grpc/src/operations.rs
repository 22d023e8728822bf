//! What operators do to one server, apart from its store.

use goku::Result;

/// What operators do to one server, apart from its store: nothing of it concerns the other replicas.
#[tonic::async_trait]
pub trait Operations: Send + Sync {
    /// Has the server read its configuration again. All of it is checked before any of it is applied.
    ///
    /// # Errors
    ///
    /// - `Config`: the configuration cannot be used; the message says all that is wrong. Nothing has changed.
    /// - `Unsupported`: the server has no configuration that could be read again.
    /// - Over the network: those of a write that is made once.
    async fn reload(&self) -> Result<Reloaded>;
}

/// What came of a configuration that was read again. Both lists are of keys of the configuration, such as `log.filter`, in
/// the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Those that have changed, and apply from now on.
    pub changed: Vec<String>,
    /// Those that have changed since the server was started, and apply once it is started again.
    pub needs_restart: Vec<String>,
}
