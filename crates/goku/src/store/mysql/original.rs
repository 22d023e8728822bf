//! Views of the tables with the columns and types of the original goku's, for SQL that was written for it.

/// Names of the views and what each selects. Keys stay binary, so that a condition on them finds the row by its index; times
/// are in UTC whatever the session's time zone.
pub(super) const VIEWS: [(&str, &str); 3] = [
    (
        "original_data",
        "select `key`, value, version, created_ref, updated_ref, deleted_ref, lease_id from data",
    ),
    (
        "original_events",
        "select id, type, `key`, \
         cast(timestamp'1970-01-01 00:00:00' + interval timestamp * 1000 microsecond as datetime(3)) as timestamp, \
         metadata from events",
    ),
    (
        "original_leases",
        "select id, version, \
         cast(timestamp'1970-01-01 00:00:00' + interval expires_at * 1000 microsecond as datetime(3)) as expires_at, \
         expired from leases",
    ),
];
