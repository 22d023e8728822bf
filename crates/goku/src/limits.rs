//! The limits of what one request may hold.

use std::time::Duration;

/// Longest key in bytes of any value: what an index of the databases takes.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest key that is given as text, in bytes of UTF-8, as in the original.
pub const TEXT_KEY_BYTES_MAX: usize = 255;

/// Longest name of whoever asks for a change, in bytes.
pub const ACTOR_BYTES_MAX: usize = 128;

/// Longest id of a request, in bytes.
pub const REQUEST_ID_BYTES_MAX: usize = 64;

/// Key and value together, in bytes: 4 MiB, less 1 KiB for the other fields of an event, so that whatever is stored can be
/// delivered over the network as well.
pub const ENTRY_BYTES_MAX: usize = 4 * 1024 * 1024 - 1024;

/// Operations in one branch of a [`Txn`](crate::Txn), and its comparisons.
pub const TXN_OPERATIONS_MAX: usize = 128;

/// Rows that all list operations of one [`Txn`](crate::Txn) may read together.
pub const TXN_ROWS_MAX: usize = 1_000;

/// Keys, values and compared values that a [`Txn`](crate::Txn) may hold, and that its answer may, in bytes: 4 MiB,
/// less 256 KiB for the other fields of as many entries as it may have.
pub const TXN_BYTES_MAX: usize = 4 * 1024 * 1024 - 256 * 1024;

/// Leases in one answer of [`list_leases`](crate::Client::list_leases).
pub const LEASES_PAGE_MAX: usize = 1_000;

/// Keys of a lease that expire together. One that has up to so many ends in one revision; one that has more ends in steps of
/// at most so many, each a revision, beside the writes of others.
pub const LEASE_KEYS_AT_ONCE_MAX: usize = 1_024;

/// Keys that a lease takes. It is checked after so many Sets to a lease that it is seldom passed by much; replicas that write
/// to one at the same time may go beyond.
pub const LEASE_KEYS_MAX: usize = 100_000;

/// Events in one answer of [`history`](crate::Client::history).
pub const HISTORY_PAGE_MAX: usize = 256;

/// Values in one answer of [`history`](crate::Client::history), in bytes, but for those of its first event.
pub const HISTORY_BYTES_MAX: usize = 1024 * 1024;

/// Keys in one answer of [`lease_keys`](crate::Client::lease_keys).
pub const LEASE_KEYS_PAGE_MAX: usize = 1_000;

/// Longest time to live of a lease: 100 years. What is meant to stay longer has no deadline.
pub const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Outcomes that are kept of one session: a client that waits for its oldest write before it sends one that is so many
/// numbers later can always ask again.
pub const SESSION_OUTCOMES_MAX: usize = 128;

/// The bytes that the outcomes of one session may take in the store. Beyond them the answers of the oldest transactions make
/// room, as if they were larger than [`OUTCOME_BYTES_MAX`].
pub const SESSION_BYTES_MAX: usize = 64 * 1024;

/// The bytes that one outcome may take. The answer of a transaction that read more is not kept: asked for again, it is
/// [`AnswerNotKept`](crate::ErrorKind::AnswerNotKept), and not done again.
pub const OUTCOME_BYTES_MAX: usize = 2 * 1024;

/// The time that a session is kept which is not used. No request lives so long.
pub const SESSION_IDLE_MAX: Duration = Duration::from_secs(3600);

/// Longest name of a consumer, in bytes of UTF-8: with the reserved prefix and an event id it fits into a key.
pub const CONSUMER_NAME_BYTES_MAX: usize = 128;

/// Partitions of one group.
pub const PARTITIONS_MAX: u32 = 1_024;

/// Cursors that one request moves.
pub const CURSOR_MOVES_MAX: usize = 256;

/// Cursors in one answer of [`list_cursors`](crate::Client::list_cursors).
pub const CURSORS_PAGE_MAX: usize = 1_000;

/// Cursors that a store keeps. It is checked where one is made; several that are made at the same moment may go beyond.
pub const CURSORS_MAX: usize = 100_000;

/// Longest name of a setting, in bytes: a kind and a prefix of keys.
pub const SETTING_NAME_BYTES_MAX: usize = 1_100;

/// Longest value of a setting, in bytes of JSON.
pub const SETTING_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Settings of one store. Each replica holds all of them in memory.
pub const SETTINGS_MAX: usize = 20_000;

/// Names and values of all settings of one store, in bytes.
pub const SETTINGS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Changes of settings that are made at once.
pub const CONFIGURE_CHANGES_MAX: usize = 1_000;

/// Names and values of changes that are made at once, in bytes.
pub const CONFIGURE_BYTES_MAX: usize = 1024 * 1024;

/// Settings, or changes of them, in one answer of [`list_settings`](crate::Admin::list_settings) and
/// [`setting_changes`](crate::Admin::setting_changes).
pub const SETTINGS_PAGE_MAX: usize = 256;

/// Names and values in one such answer, in bytes, but for those of its first setting.
pub const SETTINGS_PAGE_BYTES_MAX: usize = 1024 * 1024;

/// Last uses of tokens in one answer of [`token_uses`](crate::Admin::token_uses).
pub const TOKEN_USES_PAGE_MAX: usize = 10_000;

/// Changes of settings that are kept: the newest ones, and none that is older than [`SETTING_CHANGES_AGE_MAX`].
pub const SETTING_CHANGES_MAX: usize = 100_000;

/// The time that a change of a setting is kept: a year.
pub const SETTING_CHANGES_AGE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
