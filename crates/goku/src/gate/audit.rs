//! What is kept of who did what, and who was refused.
//!
//! A change and its origin are of one commit, so the events are the audit trail. What changes nothing is told in the log, under
//! the target `goku::audit`.

use std::net::IpAddr;

use crate::access::{AccessName, Rights};
use crate::error::{Error, Result};
use crate::origin::Origin;
use crate::random::Randomness;
use crate::setting::SettingName;

/// The target of the log.
const TARGET: &str = "goku::audit";

/// Makes changes for a caller with these rights.
pub(super) async fn changes<T>(rights: &Rights, changes: impl Future<Output = Result<T>>) -> Result<T> {
    match origin(rights)? {
        Some(origin) => origin.scope(changes).await,
        None => changes.await,
    }
}

/// The origin of the changes of a caller: what is in scope, with the caller's identity as the actor. Where rights are asked for
/// it has an actor and the id of a request in any case; `None` where what is in scope stays as it is.
fn origin(rights: &Rights) -> Result<Option<Origin>> {
    let identity = rights.identity();
    if identity.is_none() && !rights.are_asked_for() {
        return Ok(None);
    }
    let mut origin = Origin::current().as_deref().cloned().unwrap_or_default();
    if origin.request_id().is_none() && rights.are_asked_for() {
        let id = Randomness::default().number()?;
        origin = origin.with_request_id(format!("{id:016x}"))?;
    }
    let actor = identity.map_or(AccessName::ANONYMOUS, AccessName::as_str);
    Ok(Some(origin.with_actor(actor)?))
}

/// Tells of a caller that showed who it is, by what, and from where.
pub(super) fn entered(
    identity: Option<&AccessName>,
    proof: &'static str,
    address: Option<IpAddr>,
    token: Option<&AccessName>,
) {
    let identity = identity.map(AccessName::as_str);
    let address = address.map(tracing::field::display);
    let token = token.map(AccessName::as_str);
    tracing::info!(target: TARGET, identity, address, proof, token, "a caller entered, for the first time in this hour");
}

/// Tells of a call that was refused.
pub(super) fn refused(identity: Option<&AccessName>, error: &Error) {
    let origin = Origin::current();
    let request_id = origin.as_deref().and_then(Origin::request_id);
    let identity = identity.map(AccessName::as_str);
    let kind = error.kind().name();
    tracing::warn!(target: TARGET, identity, request_id, kind, %error, "a call was refused");
}

/// Tells of a call of an operator that was let through.
pub(super) fn operated(identity: Option<&AccessName>, call: &'static str, setting: Option<&SettingName>) {
    let origin = Origin::current();
    let request_id = origin.as_deref().and_then(Origin::request_id);
    let identity = identity.map(AccessName::as_str);
    let setting = setting.map(tracing::field::display);
    tracing::info!(target: TARGET, identity, request_id, call, setting, "a call of an operator");
}
