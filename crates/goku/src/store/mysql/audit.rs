//! The view of who changed what, for SQL of auditors.

/// Name of the view and what it selects: an event a row, with its time in UTC whatever the session's time zone, and its trace
/// as a header `traceparent`. What nobody said is null. Texts are converted: the sessions that make the view have binary ones.
pub(super) const VIEW: (&str, &str) = (
    "goku_audit",
    "select id, cast(timestamp'1970-01-01 00:00:00' + interval timestamp * 1000 microsecond as datetime(3)) as timestamp, \
     convert(case type when 1 then 'set' when 2 then 'delete' when 3 then 'expire' end using utf8mb4) as type, `key`, version, \
     convert(actor using utf8mb4) as actor, convert(request_id using utf8mb4) as request_id, \
     lower(convert(concat('00-', hex(substring(trace, 1, 16)), '-', hex(substring(trace, 17, 8)), '-', \
     hex(substring(trace, 25, 1))) using utf8mb4)) as trace \
     from events",
);
