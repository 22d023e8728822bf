//! A caller that is inside: who it is, and what it may do at the moment.

use std::sync::Arc;
use std::time::Duration;

use super::audit;
use super::caller::Caller;
use super::guard::Guard;
use super::rules::Rules;
use crate::access::{Demands, Rights};
use crate::decide::Settings;
use crate::engine::Engine;
use crate::error::{ErrorKind, Result};

/// A caller that is inside. What it may do is found out anew for each request.
#[derive(Clone)]
pub(super) struct Visitor {
    guard: Arc<Guard>,
    caller: Caller,
}

/// A request was allowed: by these rules, with these rights.
#[derive(Clone)]
pub(super) struct Checked {
    pub(super) rules: Arc<Rules>,
    pub(super) rights: Arc<Rights>,
}

impl Visitor {
    pub(super) fn new(guard: Arc<Guard>, caller: Caller) -> Visitor {
        Visitor { guard, caller }
    }

    /// The caller's rights by these rules, where they allow the request.
    pub(super) fn allowed(&self, rules: &Rules, request: &(impl Demands + ?Sized)) -> Result<Arc<Rights>> {
        let rights = rules.rights(&self.caller, self.guard.now())?;
        rights.check(request)?;
        Ok(rights)
    }

    /// The rules as last known.
    pub(super) fn known_rules(&self) -> Arc<Rules> {
        self.guard.known()
    }

    pub(super) fn engine(&self) -> &Engine {
        &self.guard.engine
    }

    /// The time until the caller's credentials expire; `None` where they do not.
    pub(super) fn time_left(&self, rules: &Rules) -> Option<Duration> {
        let expires_at = rules.expires_at(&self.caller)?;
        Some(expires_at.saturating_since(self.guard.now()))
    }

    /// Checks a request by the rules as they are now.
    pub(super) async fn check(&self, request: &(impl Demands + Sync + ?Sized)) -> Result<Checked> {
        let rules = self.guard.current().await?;
        self.checked(rules, request)
    }

    /// Checks a request by the rules as last known. Where those do not allow it, others may by now.
    pub(super) async fn check_known(&self, request: &(impl Demands + Sync + ?Sized)) -> Result<Checked> {
        let rules = self.guard.heard().await?;
        match self.allowed(&rules, request) {
            Ok(rights) => Ok(Checked { rules, rights }),
            Err(_) => self.checked(self.guard.latest().await?, request),
        }
    }

    /// Checks a request with all settings, as they are when it is decided; `checked` is what came of an earlier check.
    pub(super) fn check_again(
        &self,
        checked: &Checked,
        settings: &Settings,
        request: &(impl Demands + ?Sized),
    ) -> Result<Checked> {
        match settings.stamp() == checked.rules.stamp() {
            true => Ok(checked.clone()),
            false => self.checked(self.guard.of(settings), request),
        }
    }

    /// The rights that the caller would have if they were asked for.
    pub(super) fn granted(&self, rules: &Rules) -> Rights {
        rules.granted(&self.caller)
    }

    fn checked(&self, rules: Arc<Rules>, request: &(impl Demands + ?Sized)) -> Result<Checked> {
        let rights = self.told(self.allowed(&rules, request))?;
        Ok(Checked { rules, rights })
    }

    /// Has the log tell of a refusal.
    pub(super) fn told<T>(&self, allowed: Result<T>) -> Result<T> {
        allowed.inspect_err(|error| {
            if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated) {
                audit::refused(self.guard.known().identity(&self.caller).as_ref(), error);
            }
        })
    }
}
