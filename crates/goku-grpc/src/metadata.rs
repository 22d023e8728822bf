//! The limit of a request's metadata.

use http::{HeaderMap, Response};
use tonic::Status;
use tonic::body::Body;

use crate::counts::{Limit, ServerCounts};

/// The refusal of a request whose metadata has more than `bytes_max`, names and values together.
pub(crate) fn refusal(metadata: &HeaderMap, bytes_max: usize, counts: &ServerCounts) -> Option<Response<Body>> {
    let sizes = metadata.iter().map(|(name, value)| name.as_str().len() + value.len());
    let bytes: usize = sizes.sum();
    (bytes > bytes_max).then(|| {
        counts.refuse(Limit::MetadataBytes);
        let message = format!("the request's metadata has {bytes} bytes, more than the {bytes_max} that are taken");
        Status::resource_exhausted(message).into_http()
    })
}
