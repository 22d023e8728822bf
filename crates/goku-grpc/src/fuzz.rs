//! Private parts for the fuzz targets of `goku-fuzz`; only with the feature `fuzz`.

use goku::gate::Credentials;
use goku::{Origin, Result, WriteId};
use http::{Extensions, HeaderMap};
use std::time::Duration;
use tonic::metadata::MetadataMap;

use crate::{credentials, deadline, wire};

/// All that is read from the headers of a call.
#[derive(Debug)]
pub struct Headers {
    /// Who makes it.
    pub credentials: Credentials,
    /// The time that it may take.
    pub timeout: Option<Duration>,
    /// The number of the write.
    pub write_id: Result<Option<WriteId>>,
    /// Where it comes from.
    pub origin: Result<Origin>,
}

/// Reads the headers of a call.
pub fn headers(headers: HeaderMap) -> Headers {
    let (credentials, timeout) = (
        credentials::of_parts(&headers, &Extensions::new()),
        deadline::timeout(&headers),
    );
    let metadata = MetadataMap::from_headers(headers);
    Headers {
        credentials,
        timeout,
        write_id: wire::write_id(&metadata),
        origin: wire::origin(&metadata),
    }
}
