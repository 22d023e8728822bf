//! What is foretold of a batch, against what it finds.

use super::*;

/// A store, the batches that were written to it, and what it was after each.
#[derive(Default)]
struct History {
    now: Tables,
    before: Vec<Tables>,
    foresight: Foresight,
    tags: u64,
}

impl History {
    fn batch(&mut self, requests: Vec<Request>, seen: Head) -> Batch {
        self.tags += 1;
        Batch {
            requests,
            tag: Tag::new(self.tags),
            seen,
        }
    }

    /// A batch of this engine.
    fn write(&mut self, requests: Vec<Request>) {
        if let Some(decision) = self.write_unseen(requests) {
            self.foresight.wrote(Changes::from(&decision));
        }
    }

    /// A batch of somebody else; none where it changes nothing.
    fn write_unseen(&mut self, requests: Vec<Request>) -> Option<Decision> {
        let batch = self.batch(requests, self.now.head);
        let decision = self.now.decide(&batch, self.time());
        if !decision.writes {
            return None;
        }
        self.before.push(self.now.clone());
        self.now.apply(decision.clone());
        Some(decision)
    }

    /// One second a batch, so that leases of some end with others.
    fn time(&self) -> Timestamp {
        at(self.before.len())
    }

    fn at(&self, time: usize) -> &Tables {
        self.before.get(time).unwrap_or(&self.now)
    }

    /// Reads as a store does without a lock: the head, then each row as it was at one of `times`, counted from that of the
    /// head.
    fn read(&self, requests: &[Request], head: usize, times: &mut impl Iterator<Item = usize>) -> Option<Sighting> {
        let needs = first_needs(requests);
        if !needs.can_be_foreseen() {
            return None;
        }
        let now = at(head);
        let mut state = State::new(self.at(head).head, now);
        let mut last = head;
        let mut tables = || {
            let time = head + times.next().unwrap_or(0);
            last = last.max(time);
            self.at(time)
        };
        for (key, with_value) in &needs.keys {
            let tables = tables();
            let row = tables.rows.get(key);
            if let Some(row) = row {
                state.put_lease(row.lease_id, tables.leases.get(&row.lease_id).copied());
            }
            state.put_row(key.clone(), row.map(|row| loaded(row, *with_value)));
        }
        for id in &needs.leases {
            state.put_lease(*id, tables().leases.get(id).copied());
        }
        for id in &needs.members {
            let rows = tables().rows.iter().filter(|(_, row)| row.lease_id == *id);
            state.put_members(*id, rows.map(|(key, row)| (key.clone(), loaded(row, false))).collect());
        }
        for id in &needs.sessions {
            state.put_session(*id, tables().sessions.get(id).cloned());
        }
        let until = self.at(last).head.batch;
        Some(Sighting { state, until })
    }
}

fn at(batches: usize) -> Timestamp {
    Timestamp::from_millis(1_000 * (1 + batches as i64)).unwrap()
}

proptest! {
    #[test]
    fn what_is_foretold_is_what_the_store_was_at_one_moment(
        batches in prop::collection::vec((prop::bool::weighted(0.2), any_numbered_requests()), 1..8),
        requests in any_foreseeable_requests(),
        head in 0_usize..8,
        newer in 0_usize..4,
        times in prop::collection::vec(0_usize..4, 0..8),
    ) {
        let mut history = History::default();
        for (others, requests) in batches {
            if others {
                history.write_unseen(requests);
            } else {
                history.write(requests);
            }
        }
        let head = head.min(history.before.len());
        let seen = history.at(head + newer).head;
        if let Some(read) = history.read(&requests, head, &mut times.into_iter())
            && let Some(state) = history.foresight.foretell(read, &seen)
        {
            let moments = history.before.iter().chain([&history.now]);
            let moment = moments.rev().find(|tables| tables.head.batch == state.head.batch);
            let mut moment = moment.expect("a batch that was written").clone();
            prop_assert_eq!(state.head, moment.head);
            prop_assert!(state.now >= state.head.last_time);
            let batch = history.batch(requests, state.head);
            // What needs more than could be read is not decided.
            if let Ok(foreseen) = batch.decide(&state) {
                let found = moment.decide(&batch, state.now);
                prop_assert_eq!(format!("{foreseen:?}"), format!("{found:?}"));
            }
        }
    }
}

/// Among them the expiry of leases by name, whose keys the batches before may have changed.
fn any_foreseeable_requests() -> impl Strategy<Value = Vec<Request>> {
    let leases = prop::collection::vec(any_lease(), 1..4);
    let reap = leases.prop_map(|leases| Request::ReapThese(leases.into()));
    (any_numbered_requests(), prop::option::of(reap)).prop_map(|(mut requests, reap)| {
        requests.extend(reap);
        requests
    })
}

fn any_numbered_requests() -> impl Strategy<Value = Vec<Request>> {
    let numbered = (1_u64..3, 1_u64..4, any_set()).prop_map(|(id, number, set)| once(id, number, Request::Set(set)));
    prop::collection::vec(prop_oneof![4 => any_request(), 1 => numbered], 1..6)
}

/// So that a batch that follows another on a new key takes no more round trips than one on an old key.
#[test]
fn the_lease_of_a_key_that_the_batch_before_created_is_foretold_with_it() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    let requests = vec![Request::Set(set("a"))];
    let read = history.read(&requests, 0, &mut [].into_iter()).unwrap();
    let state = history.foresight.foretell(read, &history.now.head).unwrap();
    let batch = history.batch(requests, state.head);
    assert!(batch.decide(&state).is_ok());
}

/// So that a storm of leases does not hold up the batches that follow each other.
#[test]
fn the_keys_of_leases_that_are_due_are_foretold() {
    let mut history = History::default();
    history.write(vec![
        Request::Set(set("a").expiry(ttl(1_500))),
        Request::Set(set("b").expiry(ttl(1_500))),
        Request::Set(set("c").expiry(ttl(9_999))),
    ]);
    // What is read knows nothing of these: one key is not of the lease any more, one is.
    history.write(vec![
        Request::Set(set("b").lease(lease(3))),
        Request::Set(set("d").lease(lease(1))),
    ]);
    history.write(vec![Request::ReapThese([lease(1)].into())]);
    let requests = vec![Request::ReapThese([lease(1), lease(2), lease(3)].into())];
    let read = history.read(&requests, 1, &mut [].into_iter()).unwrap();
    let state = history.foresight.foretell(read, &history.now.head).unwrap();
    assert_eq!(state.members[&lease(1)], [key("a"), key("d")].into());
    assert!(state.members[&lease(2)].is_empty());
    assert_eq!(state.members[&lease(3)], [key("b"), key("c")].into());
    let batch = history.batch(requests, state.head);
    let decision = batch.decide(&state).unwrap();
    // The first has expired already, the last is not due.
    assert!(matches!(decision.answers[..], [Ok(Answer::ReapedThese(1))]));
    assert!(decision.events.is_empty());
    assert_eq!(
        decision.leases.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [lease(2)]
    );
}

#[test]
fn nothing_is_foretold_where_somebody_else_wrote() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    let read = |history: &History, back: usize| {
        let head = history.before.len() - back;
        history
            .read(&[Request::Set(set("a"))], head, &mut [].into_iter())
            .unwrap()
    };
    // As it is, and as of the head before the last batch.
    for back in [0, 1] {
        let foretold = history.foresight.foretell(read(&history, back), &history.now.head);
        assert_eq!(foretold.unwrap().head, history.now.head);
    }
    history.write_unseen(vec![Request::Set(set("a"))]);
    // A read of before is brought up to what this engine wrote, which is not the newest head seen.
    assert!(
        history
            .foresight
            .foretell(read(&history, 1), &history.now.head)
            .is_none()
    );
    assert!(
        history
            .foresight
            .foretell(read(&history, 0), &history.now.head)
            .is_some()
    );
    // The newest head seen is of a batch that the store has not any more.
    let mut lost = history.now.head;
    lost.batch = Tag::new(99);
    assert!(history.foresight.foretell(read(&history, 0), &lost).is_none());
}

#[test]
fn batches_that_were_not_written_are_forgotten() {
    let mut history = History::default();
    history.write(vec![Request::Set(set("a"))]);
    let batch = history.batch(vec![Request::Set(set("a"))], history.now.head);
    let never_written = history.now.clone().decide(&batch, history.time());
    history.foresight.wrote(Changes::from(&never_written));
    history.foresight.forget();
    let read = history.read(&[Request::Set(set("a"))], 1, &mut [].into_iter()).unwrap();
    let foretold = history.foresight.foretell(read, &history.now.head).unwrap();
    assert_eq!(foretold.head, history.now.head);
}
