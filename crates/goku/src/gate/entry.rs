//! The way in: from credentials to what a caller gets.

use std::sync::Arc;

use super::Entered;
use super::audit;
use super::caller::{Caller, Who};
use super::credentials::Credentials;
use super::guard::Guard;
use super::identification::Identification;
use super::permitted::Permitted;
use super::permitted_admin::PermittedAdmin;
use super::rules::Rules;
use super::visitor::Visitor;
use crate::access::Demand;
use crate::error::Result;

/// Finds out who a caller is. One that has no right at all does not get in, so that nothing looks at what it asks for.
pub(super) async fn enter(
    guard: &Arc<Guard>,
    identification: &Identification,
    credentials: &Credentials,
) -> Result<Entered> {
    let caller = identification.caller(credentials, guard.now());
    let caller = caller.inspect_err(|error| audit::refused(None, error))?;
    let has_any = |rules: &Rules| rules.rights(&caller, guard.now())?.check(&Demand::Anything);
    let mut rules = guard.heard().await?;
    if has_any(&rules).is_err() {
        // It may have got some a moment ago, at another replica.
        rules = guard.latest().await?;
        has_any(&rules).inspect_err(|error| audit::refused(rules.identity(&caller).as_ref(), error))?;
    }
    tell_of(guard, &rules, &caller, credentials);
    let visitor = Visitor::new(guard.clone(), caller);
    Ok(Entered {
        client: Arc::new(Permitted::new(visitor.clone())),
        admin: Some(Arc::new(PermittedAdmin::new(visitor))),
    })
}

/// Lets an operator pass, to do `call` to the server itself.
pub(super) async fn operate(
    guard: &Arc<Guard>,
    identification: &Identification,
    credentials: &Credentials,
    call: &'static str,
) -> Result<()> {
    let caller = identification.caller(credentials, guard.now());
    let caller = caller.inspect_err(|error| audit::refused(None, error))?;
    let visitor = Visitor::new(guard.clone(), caller.clone());
    let checked = PermittedAdmin::new(visitor).check(call, None).await?;
    tell_of(guard, &checked.rules, &caller, credentials);
    Ok(())
}

/// Tells of a caller that was let in, where it is the first time in an hour.
fn tell_of(guard: &Guard, rules: &Rules, caller: &Caller, credentials: &Credentials) {
    let now = guard.now();
    if !guard.logins.is_first(&caller.who, credentials.address, now) {
        return;
    }
    if let Who::Token(sha256) = &caller.who {
        guard.engine.note_token_use(*sha256, now);
    }
    let (identity, proof) = (rules.identity(caller), proof(&caller.who, credentials));
    audit::entered(identity.as_ref(), proof, credentials.address, rules.token_id(caller));
}

/// What a caller has shown of who it is.
fn proof(who: &Who, credentials: &Credentials) -> &'static str {
    match who {
        Who::Token(_) => "token",
        Who::Named(..) if credentials.token.is_some() => "jwt",
        Who::Named(..) => "certificate",
        Who::Address(_) => "address",
        Who::Anonymous => "nothing",
    }
}
