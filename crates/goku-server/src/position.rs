//! Positions in the log as text.

use goku::{EventId, Position, StreamFrom};

/// A full position: the event's id and, in hex, the tag that proves that it is still the same event.
pub(crate) fn show(position: Position) -> String {
    position.to_string()
}

/// Reads an event's id, or a full position as [`show`] writes it.
pub(crate) fn parse(text: &str) -> Result<StreamFrom, String> {
    if let Ok(position) = text.parse() {
        return Ok(StreamFrom::Resume(position));
    }
    let id = text.parse::<i64>().map_err(|_| {
        format!("{text:?} is no position; give the id of an event, or the position that JSON output shows")
    })?;
    EventId::new(id)
        .map(StreamFrom::After)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use goku::Tag;

    use super::*;

    #[test]
    fn a_position_is_an_id_with_or_without_its_tag() {
        let id = EventId::new(17).unwrap();
        let position = Position {
            id,
            tag: Tag::new(u64::MAX),
        };
        assert_eq!(parse("17"), Ok(StreamFrom::After(id)));
        assert_eq!(parse(&show(position)), Ok(StreamFrom::Resume(position)));
        for text in ["", "-1", "-", "17-", "17-xyz", "x", "99999999999999999999"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
