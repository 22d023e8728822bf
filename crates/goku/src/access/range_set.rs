//! Unions of ranges of bytes.

use crate::key::KeyRange;

/// A union of ranges of bytes: keys, or names of consumers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RangeSet {
    /// Neither overlapping nor touching, in order.
    ranges: Vec<KeyRange>,
}

impl RangeSet {
    /// Whether every element of `range` is inside. That of an empty range always is.
    pub(super) fn covers(&self, range: &KeyRange) -> bool {
        if range.end.as_ref().is_some_and(|end| *end <= range.start) {
            return true;
        }
        let covering = self.at(&range.start);
        covering.is_some_and(|covering| match (&covering.end, &range.end) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(covering), Some(end)) => end <= covering,
        })
    }

    /// Whether these bytes are inside.
    pub(super) fn contains(&self, bytes: &[u8]) -> bool {
        self.at(bytes).is_some()
    }

    /// Whether everything is inside.
    pub(super) fn is_everything(&self) -> bool {
        self.covers(&KeyRange {
            start: Vec::new(),
            end: None,
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The range that holds these bytes.
    fn at(&self, bytes: &[u8]) -> Option<&KeyRange> {
        let after = self.ranges.partition_point(|range| range.start.as_slice() <= bytes);
        let range = self.ranges.get(after.checked_sub(1)?)?;
        range
            .end
            .as_ref()
            .is_none_or(|end| bytes < end.as_slice())
            .then_some(range)
    }
}

impl FromIterator<KeyRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = KeyRange>>(ranges: I) -> RangeSet {
        let mut ranges: Vec<_> = ranges.into_iter().collect();
        ranges.sort_by(|one, other| one.start.cmp(&other.start));
        let mut merged: Vec<KeyRange> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                    last.end = match (last.end.take(), range.end) {
                        (Some(one), Some(other)) => Some(one.max(other)),
                        _ => None,
                    };
                }
                _ => merged.push(range),
            }
        }
        RangeSet { ranges: merged }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(start: &[u8], end: Option<&[u8]>) -> KeyRange {
        KeyRange {
            start: start.to_vec(),
            end: end.map(<[u8]>::to_vec),
        }
    }

    #[test]
    fn ranges_that_touch_cover_what_lies_across() {
        let set: RangeSet = [range(b"b", Some(b"c")), range(b"a", Some(b"b")), range(b"x", None)]
            .into_iter()
            .collect();
        assert!(set.covers(&range(b"a", Some(b"c"))));
        assert!(!set.covers(&range(b"a", Some(b"c\0"))));
        assert!(!set.covers(&range(b"a", None)));
        assert!(set.covers(&range(b"xyz", None)));
        assert!(set.contains(b"b") && !set.contains(b"c") && !set.is_everything());
    }

    fn any_range() -> impl Strategy<Value = KeyRange> {
        let bytes = || prop::collection::vec(0..3u8, 0..3);
        (bytes(), prop::option::of(bytes())).prop_map(|(start, end)| {
            let end = end.filter(|end| *end > start);
            KeyRange { start, end }
        })
    }

    proptest! {
        /// All keys that a small alphabet makes are a model of the set.
        #[test]
        fn a_set_holds_what_its_ranges_hold(
            ranges in prop::collection::vec(any_range(), 0..5), asked in any_range()
        ) {
            let set: RangeSet = ranges.iter().cloned().collect();
            let letters = [None, Some(0u8), Some(1), Some(2), Some(3)];
            let mut keys = Vec::new();
            for a in letters {
                for b in letters {
                    for c in letters {
                        keys.push([a, b, c].into_iter().flatten().collect::<Vec<u8>>());
                    }
                }
            }
            let holds = |range: &KeyRange, key: &[u8]| {
                key >= range.start.as_slice() && range.end.as_ref().is_none_or(|end| key < end.as_slice())
            };
            for key in &keys {
                prop_assert_eq!(set.contains(key), ranges.iter().any(|range| holds(range, key)));
            }
            if set.covers(&asked) {
                for key in keys.iter().filter(|key| holds(&asked, key)) {
                    prop_assert!(set.contains(key), "{:?}", key);
                }
            }
            for range in &ranges {
                prop_assert!(set.covers(range));
            }
        }
    }
}
