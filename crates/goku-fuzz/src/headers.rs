//! The headers of a call: credentials, deadline, number of the write, request and trace.

use goku_grpc::fuzz;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Those that are read, in the order in which an input has their values.
const NAMES: [&str; 6] = [
    "authorization",
    "token",
    "grpc-timeout",
    "goku-write-id",
    "x-request-id",
    "traceparent",
];

/// An input is one value a line; an empty line leaves a header out.
pub(crate) fn run(input: &[u8]) {
    let mut headers = HeaderMap::new();
    for (name, value) in NAMES.into_iter().zip(input.split(|byte| *byte == b'\n')) {
        if let Ok(value) = HeaderValue::from_bytes(value)
            && !value.is_empty()
        {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    let given = NAMES.map(|name| headers.get(name).map(|value| value.as_bytes().to_vec()));
    let read = fuzz::headers(headers);
    let [authorization, token, ..] = &given;
    // A header of credentials is never taken for none.
    assert_eq!(
        read.credentials.token.is_some(),
        authorization.is_some() || token.is_some()
    );
    if let Ok(Some(id)) = read.write_id {
        let text = id.to_string();
        assert_eq!(text.parse::<goku::WriteId>().expect("what is shown can be read"), id);
    }
    if let Ok(origin) = read.origin
        && let Some(id) = origin.request_id()
    {
        assert_eq!(Some(id.as_bytes()), given[4].as_deref());
        assert!(origin.actor().is_none(), "no header says who it is");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "Bearer goku_0123456789\n\n10S\n00000000000000ff-77-70\nmailer-1\n00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "bearer  x \ny\n99999999H\n1-1-0\né\n00-0-0-0",
        "Basic dXNlcjpwYXNz\n\n1n",
        "\ntoken\n0m",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
