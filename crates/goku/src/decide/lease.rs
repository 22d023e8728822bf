//! Leases: granting, renewing, expiring.
//!
//! A lease that exists only because a key needed one, without a deadline, has no row: it lives as the `lease_id` of
//! its key's row. It becomes a row when somebody gives it a deadline or another key.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::members::Members;
use super::piece::Piece;
use super::state::{Format, LeaseRow, Row, State};
use super::working::{Decided, Stop, Working};
use crate::access::Rights;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventType;
use crate::id::{LeaseId, Version};
use crate::key::Key;
use crate::lease::{Expiry, Lease, LeaseRequest};
use crate::value::Value;

/// A lease that can be used.
pub(super) struct Known {
    pub(super) row: LeaseRow,
    /// Whether the lease is a row of the table.
    pub(super) in_table: bool,
}

/// Decides a request that concerns one lease.
pub(super) fn decide(working: &mut Working<'_>, request: LeaseRequest) -> Decided<Lease> {
    let now = working.state.now;
    let (id, row) = match request {
        LeaseRequest::Grant(expiry) => (working.next_lease()?, fresh(working, expiry)),
        LeaseRequest::GrantAs(id, expiry) => (id, grant_as(working, id, expiry)?),
        LeaseRequest::Update(id, expiry) => (id, renewed(find_to_use(working, id)?, expiry, now)),
        LeaseRequest::KeepAlive(id) => {
            let row = find_to_use(working, id)?;
            let ttl = row.ttl.ok_or_else(|| {
                let message = format!("lease {id} has no time to live: update it with a deadline or a time to live");
                Error::new(ErrorKind::InvalidArgument, message)
            })?;
            (id, renewed(row, Expiry::After(ttl), now))
        }
        LeaseRequest::Expire(id) => return expire(working, id),
    };
    let answer = to_lease(id, &row, now);
    working.put_lease(id, row);
    Ok(answer)
}

/// The row of the lease that somebody chose. Its version goes on where it ended before, so that nobody who ends it in steps
/// takes the one for the other.
fn grant_as(working: &mut Working<'_>, id: LeaseId, expiry: Expiry) -> Decided<LeaseRow> {
    let now = working.state.now;
    if working.head.format == Format::Older {
        let message = format!(
            "a server of an older version still runs, which does not know leases that are chosen: {id} can be granted once \
             it has ended"
        );
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    let twin = id
        .counted_twin()
        .map(|twin| working.lease_row(twin))
        .transpose()?
        .flatten();
    let before = working.lease_row(id)?;
    if before.as_ref().is_some_and(|row| row.is_due(now)) {
        let message = format!(
            "lease {} has not ended yet, as it has many keys: grant it later",
            id.shown()
        );
        return Err(Error::new(ErrorKind::Unavailable, message).into());
    }
    if before.as_ref().is_some_and(|row| !row.expired) || twin.is_some_and(|row| !row.expired) {
        let message = format!("lease already exists: {}", id.shown());
        return Err(Error::new(ErrorKind::ConditionFailed, message).into());
    }
    let row = fresh(working, expiry);
    Ok(LeaseRow {
        version: before.map_or(row.version, |before| before.version.next()),
        ..row
    })
}

/// The lease, where it can be used; fails with `LeaseNotFound` otherwise.
pub(super) fn find(working: &mut Working<'_>, id: LeaseId) -> Decided<Known> {
    match working.lease_row(id)? {
        Some(row) if row.expired || row.is_due(working.state.now) => Err(not_found(id).into()),
        Some(row) => Ok(Known { row, in_table: true }),
        None => {
            let Members::All(keys) = working.members(id)? else {
                return working.ask_members(id);
            };
            let key = keys.first().ok_or_else(|| not_found(id))?;
            let row = working.row(key)?.ok_or(Stop::Missing)?;
            Ok(Known {
                row: implied_by(&row),
                in_table: false,
            })
        }
    }
}

/// The row of a lease that the caller may renew and end.
fn find_to_use(working: &mut Working<'_>, id: LeaseId) -> Decided<LeaseRow> {
    let row = find(working, id)?.row;
    check_right(working, id, &row)?;
    Ok(row)
}

/// Checks whether the caller may renew and end a lease: its owner may, whoever may write all of its keys, and whoever has a
/// right to every lease. That of another identity without keys is its own alone.
pub(super) fn check_right(working: &mut Working<'_>, id: LeaseId, row: &LeaseRow) -> Decided<()> {
    let Some(rights) = working.rights.clone() else {
        return Ok(());
    };
    match may_use(&rights, row.owner.as_deref(), None) {
        Some(true) => return Ok(()),
        Some(false) => return Err(rights.denied_lease(id).into()),
        None => {}
    }
    let members = working.members(id)?;
    if members == Members::NotLoaded {
        return working.ask_members(id);
    }
    match may_use(&rights, row.owner.as_deref(), Some(&members)) {
        Some(true) => Ok(()),
        _ => Err(rights.denied_lease(id).into()),
    }
}

/// Whether a caller may read, renew and end a lease, as far as its keys need not be known for that, or are given. A lease with
/// more keys than are loaded at once is for its owner and those with a right to every lease.
pub(crate) fn may_use(rights: &Rights, owner: Option<&str>, members: Option<&Members>) -> Option<bool> {
    if rights.owns(owner) || rights.covers_all_leases() {
        return Some(true);
    }
    let keys = members?.all().map(|keys| keys.iter().map(Key::as_bytes));
    Some(keys.is_some_and(|keys| (owner.is_none() || keys.len() > 0) && rights.covers_lease(keys)))
}

/// Ends the loaded leases whose deadlines have passed, in the order of their deadlines.
///
/// A lease whose keys were all loaded expires with all of them, in one revision. Of any other, only those keys expire that
/// the batch names, so that no request meets a key whose lease is over; the lease stays due, and ends in [pieces](Piece).
pub(super) fn expire_due(working: &mut Working<'_>, pieces: &[&Piece]) -> Decided<()> {
    let state = working.state;
    let mut due: Vec<_> = state
        .leases
        .iter()
        .filter_map(|(id, row)| {
            row.as_ref()
                .filter(|row| row.is_due(state.now))
                .map(|row| (row.expires_at, *id, row.clone()))
        })
        .collect();
    due.sort_unstable_by_key(|(expires_at, id, _)| (*expires_at, *id));
    let mut named = None;
    let mut missing = false;
    for (expires_at, id, row) in due {
        working.begin();
        let mut pieces = pieces.iter().filter(|piece| piece.lease == id).peekable();
        let members = match pieces.peek() {
            Some(_) => Ok(Members::Many),
            None => working.members(id),
        };
        match members {
            Ok(Members::All(keys)) => {
                expire_keys(working, keys)?;
                working.put_lease(id, ended(row));
                working.expired.extend(expires_at);
            }
            Ok(Members::Many | Members::NotLoaded) => {
                let named = named.get_or_insert_with(|| live_by_lease(state));
                expire_keys(working, named.remove(&id).unwrap_or_default())?;
                if pieces.any(|piece| piece.last && piece.version == row.version) {
                    working.put_lease(id, ended(row));
                    working.expired.extend(expires_at);
                } else if let Some(deadline) = expires_at {
                    working.keep_deadline(deadline);
                }
            }
            Err(Stop::Missing) => missing = true,
            Err(failed) => return Err(failed),
        }
    }
    if missing { Err(Stop::Missing) } else { Ok(()) }
}

/// Ends a lease now. A lease with too many keys for one revision is over with this too, but only those of its keys vanish
/// that the batch names; the task that looks for due leases removes the others.
fn expire(working: &mut Working<'_>, id: LeaseId) -> Decided<Lease> {
    let now = working.state.now;
    let before = find_to_use(working, id)?;
    let answer = to_lease(id, &ended(before.clone()), now);
    let row = match working.members(id)? {
        Members::All(keys) => {
            expire_keys(working, keys)?;
            ended(before)
        }
        Members::Many => {
            let keys = working.known_live(id);
            expire_keys(working, keys)?;
            LeaseRow {
                expires_at: Some(now),
                expired: false,
                ..ended(before)
            }
        }
        Members::NotLoaded => return working.ask_members(id),
    };
    working.put_lease(id, row);
    Ok(answer)
}

/// Expires the keys among these that exist.
fn expire_keys(working: &mut Working<'_>, keys: impl IntoIterator<Item = Key>) -> Decided<()> {
    for key in keys {
        let row = working.row(&key)?;
        if let Some(live) = row.filter(Row::is_live) {
            working.emit(&key, Some(&live), EventType::Expire, Value::default(), live.lease_id);
        }
    }
    Ok(())
}

/// The keys that exist among the rows that were loaded, by their leases, in order.
fn live_by_lease(state: &State) -> HashMap<LeaseId, BTreeSet<Key>> {
    let mut live: HashMap<_, BTreeSet<_>> = HashMap::new();
    for (key, row) in &state.rows {
        if let Some(row) = row.as_ref().filter(|row| row.is_live()) {
            live.entry(row.lease_id).or_default().insert(key.clone());
        }
    }
    live
}

/// The lease after its end.
fn ended(row: LeaseRow) -> LeaseRow {
    LeaseRow {
        version: row.version.next(),
        expires_at: None,
        ttl: row.ttl,
        expired: true,
        owner: row.owner,
    }
}

/// A new lease, of whoever makes the request.
pub(super) fn fresh(working: &Working<'_>, expiry: Expiry) -> LeaseRow {
    let row = LeaseRow {
        version: Version::FIRST,
        expires_at: None,
        ttl: None,
        expired: false,
        owner: owner(working),
    };
    LeaseRow {
        version: Version::FIRST,
        ..renewed(row, expiry, working.state.now)
    }
}

/// The owner of a lease that the request being decided makes.
fn owner(working: &Working<'_>) -> Option<Arc<str>> {
    let identity = working.rights.as_ref()?.identity()?;
    Some(identity.as_str().into())
}

/// The lease after one more write, which gave it `expiry`.
pub(super) fn renewed(row: LeaseRow, expiry: Expiry, now: Timestamp) -> LeaseRow {
    let (expires_at, ttl) = match expiry {
        Expiry::Keep => (row.expires_at, row.ttl),
        Expiry::Never => (None, None),
        Expiry::At(deadline) => (Some(deadline), None),
        Expiry::After(ttl) => {
            // Milliseconds, as the store keeps them, so that every answer tells the same.
            let ttl = Duration::from_millis(u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX));
            (Some(now.saturating_add(ttl)), Some(ttl))
        }
    };
    LeaseRow {
        version: row.version.next(),
        expires_at,
        ttl,
        expired: false,
        owner: row.owner,
    }
}

/// The lease that exists only as the `lease_id` of this row: written once at the creation of its key and with every Set
/// since.
pub(super) fn implied_by(row: &Row) -> LeaseRow {
    let sets_end = if row.is_live() {
        row.version.get()
    } else {
        row.version.get() - 1
    };
    let writes = sets_end - row.created_version.get() + 1;
    let version = Version::new(writes).unwrap_or(Version::FIRST);
    LeaseRow {
        version,
        expires_at: None,
        ttl: None,
        expired: false,
        owner: None,
    }
}

/// The row of a lease that exists only by this row of its key, once the request being decided makes one of it.
pub(super) fn made_of(working: &Working<'_>, row: &Row) -> LeaseRow {
    LeaseRow {
        owner: owner(working),
        ..implied_by(row)
    }
}

/// A lease as a plain read of its row and members finds it; `LeaseNotFound` where it has expired or never was.
pub(crate) fn lease_of(state: &State, id: LeaseId) -> Result<Lease> {
    let found = match state.leases.get(&id).cloned().flatten() {
        Some(row) => Some(row).filter(|row| !row.expired && !row.is_due(state.now)),
        None => state
            .members
            .get(&id)
            .and_then(|members| members.all()?.first())
            .and_then(|key| state.rows.get(key)?.as_ref())
            .map(implied_by),
    };
    found
        .map(|row| to_lease(id, &row, state.now))
        .ok_or_else(|| not_found(id))
}

/// Converts a row to the public type.
pub(crate) fn to_lease(id: LeaseId, row: &LeaseRow, now: Timestamp) -> Lease {
    Lease {
        id,
        version: row.version,
        expires_at: row.expires_at,
        ttl: row.ttl,
        now,
    }
}

pub(super) fn not_found(id: LeaseId) -> Error {
    Error::new(
        ErrorKind::LeaseNotFound,
        format!("lease not found: {id} does not exist or has expired"),
    )
}
