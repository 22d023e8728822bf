//! The keys that goku keeps for itself, beside those of its users.

use goku::consumer::RESERVED_PREFIX;
use goku::{Key, Prefix};

/// Whether a command that is given `prefix` leaves out goku's own keys: unless `all` asks for them, or the prefix names
/// them, as `goku:` does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hiding(bool);

impl Hiding {
    pub(super) fn of(prefix: &Prefix, all: bool) -> Hiding {
        let may_meet_them = RESERVED_PREFIX.as_bytes().starts_with(prefix.as_bytes());
        Hiding(may_meet_them && !all && !prefix.as_bytes().starts_with(b"goku:"))
    }

    /// Whether any key may be left out.
    pub(super) fn is_on(self) -> bool {
        self.0
    }

    /// Whether `key` is left out.
    pub(super) fn hides(self, key: &Key) -> bool {
        self.0 && key.as_bytes().starts_with(RESERVED_PREFIX.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_keys_are_hidden_unless_they_are_asked_for() {
        let (own, users) = (
            Key::new("goku:consumers/dead/c/1").unwrap(),
            Key::new("goku:consumer").unwrap(),
        );
        for (prefix, all, hidden) in [
            ("", false, true),
            ("g", false, true),
            ("goku", false, true),
            ("", true, false),
            ("goku:", false, false),
            ("goku:consumers/dead/", false, false),
            ("other", false, false),
        ] {
            let hiding = Hiding::of(&Prefix::new(prefix).unwrap(), all);
            assert_eq!((hiding.hides(&own), hiding.is_on()), (hidden, hidden), "{prefix:?}");
            assert!(!hiding.hides(&users));
        }
    }
}
