//! The callers that entered lately, so that the log tells of each once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{PoisonError, RwLock};

use super::caller::Who;
use crate::access::hour_of;
use crate::clock::Timestamp;

/// Callers, each from one address, that are remembered. Beyond it all are forgotten, and told once more.
const LOGINS_KEPT_MAX: usize = 20_000;

/// The callers that entered in the hour that is.
#[derive(Default)]
pub(super) struct Logins {
    hours: RwLock<HashMap<(Who, Option<IpAddr>), Timestamp>>,
}

impl Logins {
    /// Whether a caller enters from an address for the first time in this hour. One that shows nothing of who it is never
    /// does.
    pub(super) fn is_first(&self, caller: &Who, address: Option<IpAddr>, now: Timestamp) -> bool {
        if *caller == Who::Anonymous {
            return false;
        }
        let hour = hour_of(now);
        let login = (caller.clone(), address);
        // What is there is whole at any moment.
        let known = self
            .hours
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&login)
            .copied();
        if known == Some(hour) {
            return false;
        }
        let mut hours = self.hours.write().unwrap_or_else(PoisonError::into_inner);
        if hours.len() >= LOGINS_KEPT_MAX {
            hours.clear();
        }
        hours.insert(login, hour) != Some(hour)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::access::AccessName;

    #[test]
    fn a_caller_enters_for_the_first_time_in_an_hour_from_each_address() {
        let logins = Logins::default();
        let alice = Who::Named(AccessName::new("alice").unwrap(), Arc::default());
        let at = |ms| Timestamp::from_millis(ms).unwrap();
        let [one, other] = [1, 2].map(|last| Some(IpAddr::from([10, 0, 0, last])));
        assert!(logins.is_first(&alice, one, at(0)));
        assert!(!logins.is_first(&alice, one, at(3_599_999)));
        assert!(logins.is_first(&alice, other, at(3_599_999)));
        assert!(logins.is_first(&alice, one, at(3_600_000)));
        assert!(!logins.is_first(&Who::Anonymous, one, at(0)));
    }

    #[test]
    fn no_more_callers_are_remembered_than_may_be() {
        let logins = Logins::default();
        let at = Timestamp::from_millis(0).unwrap();
        for number in 0..LOGINS_KEPT_MAX + 1 {
            let caller = Who::Named(AccessName::new(number.to_string()).unwrap(), Arc::default());
            assert!(logins.is_first(&caller, None, at));
        }
        assert_eq!(logins.hours.read().unwrap().len(), 1);
    }
}
