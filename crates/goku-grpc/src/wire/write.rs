//! The number of a write, in the headers of its request.

use goku::{Result, WriteId};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::invalid;

/// The header of a request that names a write, as `session in hexadecimal-number-last answered`. An answer repeats it: so a client
/// knows that the server does the write once, and that it may send it again.
const WRITE_ID: &str = "goku-write-id";

/// The number that the headers of a request or answer name.
pub(crate) fn write_id(headers: &MetadataMap) -> Result<Option<WriteId>> {
    let Some(value) = headers.get(WRITE_ID) else {
        return Ok(None);
    };
    let text = value
        .to_str()
        .map_err(|_| invalid("the header goku-write-id is no text"))?;
    text.parse().map(Some)
}

/// Names a write in the headers of its request or answer.
pub(crate) fn put_write_id(id: WriteId, headers: &mut MetadataMap) {
    if let Ok(value) = MetadataValue::<Ascii>::try_from(id.to_string()) {
        headers.insert(WRITE_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use goku::{ErrorKind, SessionId};

    use super::*;

    #[test]
    fn a_number_goes_around() {
        let mut headers = MetadataMap::new();
        assert_eq!(write_id(&headers).unwrap(), None);
        let id = WriteId {
            answered: 70,
            ..WriteId::new(SessionId::new(u64::MAX - 1), 77)
        };
        put_write_id(id, &mut headers);
        assert_eq!(write_id(&headers).unwrap(), Some(id));
    }

    #[test]
    fn what_names_no_write_is_refused() {
        for text in [
            "",
            "1",
            "1-1",
            "x-1-0",
            "1--0",
            "1-0-0",
            "1-1-1",
            "1--1-0",
            "1-1-0-0",
            "11112222333344445-1-0",
        ] {
            let mut headers = MetadataMap::new();
            headers.insert(WRITE_ID, text.parse().unwrap());
            assert_eq!(
                write_id(&headers).unwrap_err().kind(),
                ErrorKind::InvalidArgument,
                "{text}"
            );
        }
    }
}
