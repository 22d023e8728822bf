//! The assignment of partitions to members: a pure function of who is there and who holds what.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::id::LeaseId;

/// The member that each partition is to be held by; none where there are no members.
///
/// Members hold as many as each other, or one more. A member keeps what it holds, up to its share, so that only what has to
/// move does. Everybody comes to the same answer from the same members and holders, and to one that follows from it while
/// partitions move.
pub(super) fn assign(
    partitions: u32,
    members: &BTreeSet<LeaseId>,
    holders: &BTreeMap<u32, LeaseId>,
) -> BTreeMap<u32, LeaseId> {
    let mut held: BTreeMap<LeaseId, Vec<u32>> = members.iter().map(|member| (*member, Vec::new())).collect();
    for (partition, holder) in holders.range(..partitions) {
        if let Some(held) = held.get_mut(holder) {
            held.push(*partition);
        }
    }
    let shares = shares(partitions, &held);
    let mut assigned = BTreeMap::new();
    let mut room = Vec::new();
    for (member, held) in &held {
        let share = shares.get(member).copied().unwrap_or(0);
        let kept = held.iter().take(share);
        assigned.extend(kept.map(|partition| (*partition, *member)));
        room.extend(std::iter::repeat_n(*member, share.saturating_sub(held.len())));
    }
    let mut room = room.into_iter();
    for partition in 0..partitions {
        if !assigned.contains_key(&partition)
            && let Some(member) = room.next()
        {
            assigned.insert(partition, member);
        }
    }
    assigned
}

/// The number of partitions that each member is to hold. Those that hold most have one more where they cannot have the same: so the
/// fewest move.
fn shares(partitions: u32, held: &BTreeMap<LeaseId, Vec<u32>>) -> BTreeMap<LeaseId, usize> {
    let partitions = partitions as usize;
    let members = held.len().max(1);
    let (share, more) = (partitions / members, partitions % members);
    let mut by_held: Vec<_> = held
        .iter()
        .map(|(member, held)| (Reverse(held.len()), *member))
        .collect();
    by_held.sort_unstable();
    let ranked = by_held.into_iter().enumerate();
    ranked
        .map(|(rank, (_, member))| (member, share + usize::from(rank < more)))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lease(id: u32) -> LeaseId {
        LeaseId::new(i64::from(id) + 1).unwrap()
    }

    fn counts(members: &BTreeSet<LeaseId>, holders: &BTreeMap<u32, LeaseId>) -> Vec<usize> {
        let count = |member: &LeaseId| holders.values().filter(|holder| *holder == member).count();
        members.iter().map(count).collect()
    }

    fn moved(before: &BTreeMap<u32, LeaseId>, after: &BTreeMap<u32, LeaseId>) -> usize {
        let moved = |(partition, holder): &(&u32, &LeaseId)| after.get(partition) != Some(holder);
        before.iter().filter(moved).count()
    }

    /// Members, and holders of some of the partitions, who may be gone.
    fn group() -> impl Strategy<Value = (u32, BTreeSet<LeaseId>, BTreeMap<u32, LeaseId>)> {
        (1_u32..80).prop_flat_map(|partitions| {
            let members = prop::collection::btree_set(0_u32..20, 1..12);
            let holders = prop::collection::btree_map(0..partitions, 0_u32..25, 0..partitions as usize);
            (Just(partitions), members, holders).prop_map(|(partitions, members, holders)| {
                let holders = holders
                    .into_iter()
                    .map(|(partition, holder)| (partition, lease(holder)));
                (partitions, members.into_iter().map(lease).collect(), holders.collect())
            })
        })
    }

    proptest! {
        #[test]
        fn every_partition_has_one_owner_and_shares_differ_by_one_at_most((partitions, members, holders) in group()) {
            let assigned = assign(partitions, &members, &holders);
            prop_assert_eq!(assigned.len(), partitions as usize);
            prop_assert!(assigned.values().all(|member| members.contains(member)));
            let counts = counts(&members, &assigned);
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
        }

        #[test]
        fn no_more_than_needed_moves((partitions, members, holders) in group()) {
            let assigned = assign(partitions, &members, &holders);
            let live: BTreeMap<_, _> = holders.into_iter().filter(|(_, holder)| members.contains(holder)).collect();
            // Those that hold most give up what is over their share, and nobody anything else.
            let mut counts = counts(&members, &live);
            counts.sort_unstable_by(|one, other| other.cmp(one));
            let (share, more) = (partitions as usize / members.len(), partitions as usize % members.len());
            let over = |(rank, count): (usize, usize)| count.saturating_sub(share + usize::from(rank < more));
            let least: usize = counts.into_iter().enumerate().map(over).sum();
            prop_assert_eq!(moved(&live, &assigned), least);
        }

        #[test]
        fn what_is_assigned_stays_assigned((partitions, members, holders) in group()) {
            let assigned = assign(partitions, &members, &holders);
            prop_assert_eq!(assign(partitions, &members, &assigned), assigned);
        }

        #[test]
        fn one_that_leaves_moves_what_it_held_alone((partitions, members, holders) in group()) {
            let assigned = assign(partitions, &members, &holders);
            let gone = *members.first().unwrap();
            let rest: BTreeSet<_> = members.iter().copied().filter(|member| *member != gone).collect();
            prop_assume!(!rest.is_empty());
            let after = assign(partitions, &rest, &assigned);
            prop_assert_eq!(moved(&assigned, &after), counts(&members, &assigned)[0]);
        }

        /// Members that know of changes late, and act on what they know, one after the other in any order, come to rest
        /// at what is balanced.
        #[test]
        fn members_that_know_late_come_to_rest((partitions, members, holders) in group(), order in any::<u64>()) {
            let live = holders.into_iter().filter(|(_, holder)| members.contains(holder)).collect();
            let mut group = Simulation { partitions, members: members.clone(), log: vec![live], random: order };
            let mut known: BTreeMap<LeaseId, usize> = members.iter().map(|member| (*member, 0)).collect();
            let mut steps = 0;
            loop {
                let waiting: Vec<_> = members.iter().filter(|member| group.can_act(**member, known[*member])).collect();
                if waiting.is_empty() {
                    break;
                }
                let member = *waiting[group.below(waiting.len())];
                known.insert(member, group.act(member, known[&member]));
                steps += 1;
                prop_assert!(steps < 20_000, "they do not come to rest");
            }
            let last = group.log.last().unwrap();
            prop_assert_eq!(last.len(), partitions as usize);
            let counts = counts(&members, last);
            prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
        }
    }

    /// The holders after each change, and what members do who know the changes up to some.
    struct Simulation {
        partitions: u32,
        members: BTreeSet<LeaseId>,
        log: Vec<BTreeMap<u32, LeaseId>>,
        random: u64,
    }

    impl Simulation {
        fn below(&mut self, end: usize) -> usize {
            self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.random >> 33) as usize % end
        }

        fn changes(&self, member: LeaseId, known: usize) -> Vec<(u32, Option<LeaseId>)> {
            let view = &self.log[known];
            let assigned = assign(self.partitions, &self.members, view);
            let own = |holders: &BTreeMap<u32, LeaseId>, partition| holders.get(&partition) == Some(&member);
            let partitions = 0..self.partitions;
            let changes = partitions.filter_map(|partition| match (own(view, partition), own(&assigned, partition)) {
                (true, false) => Some((partition, None)),
                (false, true) if !view.contains_key(&partition) => Some((partition, Some(member))),
                _ => None,
            });
            changes.collect()
        }

        fn can_act(&self, member: LeaseId, known: usize) -> bool {
            known + 1 < self.log.len() || !self.changes(member, known).is_empty()
        }

        /// Does one change, or hears of one more; answers with how much it knows then.
        fn act(&mut self, member: LeaseId, known: usize) -> usize {
            let changes = self.changes(member, known);
            let is_behind = known + 1 < self.log.len();
            if changes.is_empty() || is_behind && self.below(2) == 0 {
                return known + 1;
            }
            let (partition, to) = changes[self.below(changes.len())];
            let mut holders = self.log.last().unwrap().clone();
            let is_possible = match to {
                // A claim is refused where it is held, a release where it is not its own any more.
                Some(_) => !holders.contains_key(&partition),
                None => holders.get(&partition) == Some(&member),
            };
            if !is_possible {
                return known + 1;
            }
            match to {
                Some(member) => holders.insert(partition, member),
                None => holders.remove(&partition),
            };
            self.log.push(holders);
            known
        }
    }
}
