//! Set and Delete.

use bytes::Bytes;

use super::condition;
use super::lease::{self, renewed};
use super::state::{Format, LeaseRow, Row};
use super::working::{Decided, Working};
use crate::entry::Entry;
use crate::error::{Error, ErrorKind};
use crate::event::EventType;
use crate::id::{LeaseId, Version};
use crate::key::Key;
use crate::lease::Expiry;
use crate::limits::TEXT_KEY_BYTES_MAX;
use crate::request::{DeleteRequest, SetRequest};

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
        value: Bytes::new(),
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
        Bytes::new(),
        live.lease_id,
    );
    Ok(row.to_entry(&request.key))
}

/// Refuses a key that programs cannot read which may use the store, too.
fn check_key(working: &Working<'_>, key: &Key) -> Result<(), Error> {
    let is_known = || key.text().is_some_and(|text| text.len() <= TEXT_KEY_BYTES_MAX);
    if working.head.format == Format::Older && !is_known() {
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
    let now = working.state.now;
    let live = row.filter(|row| row.is_live());
    if let Some(id) = request.lease {
        let known = lease::find(working, id)?;
        let own = live.is_some_and(|row| row.lease_id == id);
        if !own && working.full.contains(&id) {
            let message = format!("lease {id} has as many keys as a lease takes: set the key with another one");
            return Err(Error::new(ErrorKind::TooLarge, message).into());
        }
        let after = renewed(known.row, request.expiry, now);
        if known.in_table || !own || after.expires_at.is_some() {
            working.put_lease(id, after);
        }
        return Ok(id);
    }
    if let Some(live) = live {
        match working.lease_row(live.lease_id)? {
            Some(lease) => working.put_lease(live.lease_id, renewed(lease, request.expiry, now)),
            None => {
                let after = renewed(lease::implied_by(live), request.expiry, now);
                if after.expires_at.is_some() {
                    working.put_lease(live.lease_id, after);
                }
            }
        }
        return Ok(live.lease_id);
    }
    let id = working.next_lease();
    if matches!(request.expiry, Expiry::At(_) | Expiry::After(_)) {
        let fresh = LeaseRow {
            version: Version::FIRST,
            expires_at: None,
            ttl: None,
            expired: false,
        };
        working.put_lease(
            id,
            LeaseRow {
                version: Version::FIRST,
                ..renewed(fresh, request.expiry, now)
            },
        );
    }
    Ok(id)
}
