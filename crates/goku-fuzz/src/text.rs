//! What is read from texts: positions, ids, numbers of writes, traces, tokens and names.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use goku::access::{AccessName, Token, Verb};
use goku::{ConsumerName, Epoch, EventId, FencingToken, LeaseId, Position, Revision, TraceContext, Version, WriteId};

/// What is read is shown as a text that is read as the same.
fn goes_around<T: FromStr<Err: Debug> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        let again = read.to_string().parse::<T>().expect("what is shown can be read");
        assert_eq!(again, read);
    }
}

pub(crate) fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    goes_around::<Position>(text);
    goes_around::<Epoch>(text);
    goes_around::<EventId>(text);
    goes_around::<LeaseId>(text);
    goes_around::<Revision>(text);
    goes_around::<Version>(text);
    goes_around::<FencingToken>(text);
    goes_around::<WriteId>(text);
    goes_around::<TraceContext>(text);
    goes_around::<AccessName>(text);
    goes_around::<ConsumerName>(text);
    goes_around::<Verb>(text);
    match text.parse::<Token>() {
        Ok(token) => {
            assert_eq!(token.reveal(), text);
            assert!(!format!("{token:?}").contains(text));
        }
        // Nothing of what may be a secret shows.
        Err(error) if text.len() > 16 => assert!(!error.to_string().contains(text), "{error}"),
        Err(_) => {}
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let token = Token::random().expect("the system has random numbers");
    [
        "7-664a796e567af9e1",
        "1-a5368ac629df5304",
        "17",
        "-1",
        "9223372036854775807",
        "00000000000000ff-77-70",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "mailer",
        "write",
        token.reveal(),
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
