//! Set and Delete.

use super::condition;
use super::lease::{self, renewed};
use super::state::{Format, Row};
use super::working::{Decided, Working};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::event::EventType;
use crate::id::LeaseId;
use crate::key::Key;
use crate::lease::Expiry;
use crate::limits::TEXT_KEY_BYTES_MAX;
use crate::request::{DeleteRequest, SetLease, SetRequest};
use crate::value::Value;

/// Sets a key; answers with its new state without the value.
pub(super) fn set(working: &mut Working<'_>, request: &SetRequest) -> Decided<Entry> {
    check_key(working, &request.key)?;
    let row = working.row(&request.key)?;
    condition::check(request.condition, &request.key, row.as_ref())?;
    let lease_id = choose_lease(working, request, row.as_ref())?;
    let row = working.emit(
        &request.key,
        row.as_ref(),
        EventType::Set,
        request.value.clone(),
        lease_id,
    );
    Ok(Entry {
        value: Value::default(),
        ..row.to_entry(&request.key)
    })
}

/// Deletes a key; answers with the tombstone.
pub(super) fn delete(working: &mut Working<'_>, request: &DeleteRequest) -> Decided<Entry> {
    let row = working.row(&request.key)?;
    let Some(live) = row.filter(Row::is_live) else {
        return Err(not_found(&request.key).into());
    };
    condition::check(request.condition, &request.key, Some(&live))?;
    let row = working.emit(
        &request.key,
        Some(&live),
        EventType::Delete,
        Value::default(),
        live.lease_id,
    );
    Ok(row.to_entry(&request.key))
}

/// Refuses a key that programs cannot read which may use the store, too.
fn check_key(working: &Working<'_>, key: &Key) -> Result<(), Error> {
    if working.head.format == Format::Older && key.short_text().is_none() {
        let message = format!(
            "a server of an older version still runs, which knows keys of up to {TEXT_KEY_BYTES_MAX} bytes of text only: \
             {key:?} can be set once it has ended"
        );
        return Err(Error::new(ErrorKind::Unavailable, message));
    }
    Ok(())
}

/// The error for a key that does not exist.
pub(crate) fn not_found(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, format!("key not found: {key:?}"))
}

/// Chooses the lease that the key has after the Set, and applies the Set's effect on that lease.
fn choose_lease(working: &mut Working<'_>, request: &SetRequest, row: Option<&Row>) -> Decided<LeaseId> {
    let live = row.filter(|row| row.is_live());
    match (request.lease, live) {
        (SetLease::MoveTo(id), _) => move_to(working, id, request.expiry, live),
        (SetLease::Attach(id), _) => attach(working, id, live),
        (SetLease::Stay, Some(live)) => Ok(live.lease_id),
        (SetLease::Stay, None) => Err(not_found(&request.key).into()),
        (SetLease::Detach, Some(live)) => match working.lease_row(live.lease_id)? {
            Some(_) => working.next_lease(),
            None => Ok(live.lease_id),
        },
        (SetLease::Own, Some(live)) if live.lease_id.is_counted() || request.expiry == Expiry::Keep => {
            renew_own(working, live, request.expiry)
        }
        (SetLease::Own | SetLease::Detach, _) => new_lease(working, request.expiry),
    }
}

fn move_to(working: &mut Working<'_>, id: LeaseId, expiry: Expiry, live: Option<&Row>) -> Decided<LeaseId> {
    let known = lease::find(working, id)?;
    let own = live.is_some_and(|row| row.lease_id == id);
    if !own {
        check_room(working, id)?;
    }
    if expiry != Expiry::Keep {
        lease::check_right(working, id, &known.row)?;
    }
    let before = match (known.in_table, live.filter(|_| own)) {
        (false, Some(live)) => lease::made_of(working, live),
        _ => known.row,
    };
    let after = renewed(before, expiry, working.state.now);
    if known.in_table || !own || after.expires_at.is_some() {
        working.put_lease(id, after);
    }
    Ok(id)
}

/// Gives the key a lease that has a row. The row is written only where the key is a new one of the lease: its version tells
/// whoever ends the lease in steps that there may be a key more.
fn attach(working: &mut Working<'_>, id: LeaseId, live: Option<&Row>) -> Decided<LeaseId> {
    let known = match working.lease_row(id)? {
        Some(row) if !row.expired && !row.is_due(working.state.now) => row,
        _ => return Err(lease::not_found(id).into()),
    };
    if live.is_none_or(|row| row.lease_id != id) {
        check_room(working, id)?;
        let after = renewed(known, Expiry::Keep, working.state.now);
        working.put_lease(id, after);
    }
    Ok(id)
}

fn check_room(working: &Working<'_>, id: LeaseId) -> Result<(), Error> {
    if working.full.contains(&id) {
        let message = format!("lease {id} has as many keys as a lease takes: set the key with another one");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

/// Renews the lease that the key has.
fn renew_own(working: &mut Working<'_>, live: &Row, expiry: Expiry) -> Decided<LeaseId> {
    let now = working.state.now;
    match working.lease_row(live.lease_id)? {
        Some(lease) => {
            if expiry != Expiry::Keep {
                lease::check_right(working, live.lease_id, &lease)?;
            }
            working.put_lease(live.lease_id, renewed(lease, expiry, now));
        }
        None => {
            let after = renewed(lease::made_of(working, live), expiry, now);
            if after.expires_at.is_some() {
                working.put_lease(live.lease_id, after);
            }
        }
    }
    Ok(live.lease_id)
}

/// Makes a lease, which has a row only where it has a deadline.
fn new_lease(working: &mut Working<'_>, expiry: Expiry) -> Decided<LeaseId> {
    let id = working.next_lease()?;
    if matches!(expiry, Expiry::At(_) | Expiry::After(_)) {
        let row = lease::fresh(working, expiry);
        working.put_lease(id, row);
    }
    Ok(id)
}
