//! Errors on the wire: goku's errors as gRPC statuses, and back.
//!
//! A status has a gRPC code for everybody, and details with a code of our own or the original's, by which clients of
//! either know the kind. Never `Cancelled` or `DeadlineExceeded`: Go clients would take them for their own context's.

use goku::{Error, ErrorKind, EventId, FencingToken, Revision};
use prost::Message;
use prost_types::Any;
use tonic::metadata::MetadataMap;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::codec::Malformed;
use crate::proto::gokupb::Refusal;
use crate::proto::jettisonpb::{Error as HopError, Hop, KeyValue, WrappedError};
use crate::proto::rpc;

const HOP_URL: &str = "type.googleapis.com/jettisonpb.Hop";
const WRAPPED_ERROR_URL: &str = "type.googleapis.com/jettisonpb.WrappedError";

/// Longest message that goes out, in bytes: it is sent up to three times in the trailers, percent- or base64-encoded,
/// and clients take 8 to 16 KiB of them.
const TEXT_BYTES_MAX: usize = 1024;

/// Clients built with grpc-go from 1.56 on may know [`WrappedError`]; any jettison that does needs it.
const WRAPPED_ERROR_SINCE: u32 = 56;

/// The parameter of [`ErrorKind::Compacted`].
const OLDEST: &str = "oldest";

/// The parameter of [`ErrorKind::AnswerNotKept`].
const REV: &str = "rev";

/// The parameter of [`ErrorKind::CursorBackward`].
const AT: &str = "at";

/// The parameter of [`ErrorKind::Fenced`].
const TOKEN: &str = "token";

/// The original's code for a lost race, "safe to retry". This server queues writers and never sends it.
const UPDATE_RACE: &str = "ERR_021c218d3d627915";

/// The forms of error details that a client reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Details {
    /// Only [`Hop`]: an older jettison takes no status that has anything else.
    Hop,
    /// [`Hop`] and [`WrappedError`].
    HopAndWrappedError,
}

/// The effect of a call, and so what is known when its answer is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// A read can be tried again.
    Read,
    /// A write may have been applied.
    Write,
}

/// The gRPC code and the details' code of each kind. Those named `ERR_` are the original's.
fn codes(kind: ErrorKind) -> (Code, &'static str) {
    match kind {
        ErrorKind::InvalidArgument => (Code::InvalidArgument, "GOKU_INVALID_ARGUMENT"),
        ErrorKind::InvalidKey => (Code::InvalidArgument, "ERR_75bca259ff56586e"),
        ErrorKind::InvalidCursor => (Code::InvalidArgument, "ERR_82d0368b5478d378"),
        ErrorKind::TooLarge => (Code::ResourceExhausted, "GOKU_TOO_LARGE"),
        ErrorKind::NotFound => (Code::NotFound, "ERR_1c1777690f774c97"),
        ErrorKind::LeaseNotFound => (Code::NotFound, "ERR_235d9b7679294c92"),
        ErrorKind::ConditionFailed => (Code::FailedPrecondition, "ERR_3a315c1fe3a73d55"),
        ErrorKind::Compacted { .. } => (Code::OutOfRange, "GOKU_COMPACTED"),
        ErrorKind::PositionLost => (Code::DataLoss, "GOKU_POSITION_LOST"),
        ErrorKind::CursorBackward { .. } => (Code::FailedPrecondition, "GOKU_CURSOR_BACKWARD"),
        ErrorKind::Fenced { .. } => (Code::FailedPrecondition, "GOKU_FENCED"),
        ErrorKind::HeadReached => (Code::OutOfRange, "ERR_b4b155d2a91cfcd0"),
        ErrorKind::Stopped => (Code::Unavailable, "ERR_09290f5944cb8671"),
        ErrorKind::Unavailable => (Code::Unavailable, "GOKU_UNAVAILABLE"),
        ErrorKind::OutcomeUnknown => (Code::Unknown, "GOKU_OUTCOME_UNKNOWN"),
        ErrorKind::AnswerNotKept { .. } => (Code::Unknown, "GOKU_ANSWER_NOT_KEPT"),
        ErrorKind::SessionExpired => (Code::Aborted, "GOKU_SESSION_EXPIRED"),
        ErrorKind::Unauthenticated => (Code::Unauthenticated, "GOKU_UNAUTHENTICATED"),
        ErrorKind::PermissionDenied => (Code::PermissionDenied, "GOKU_PERMISSION_DENIED"),
        ErrorKind::Unsupported => (Code::Unimplemented, "GOKU_UNSUPPORTED"),
        ErrorKind::Config => (Code::FailedPrecondition, "GOKU_CONFIG"),
        // `Internal`, and a kind that this version does not know: nothing that its callers could act on.
        _ => (Code::Internal, "GOKU_INTERNAL"),
    }
}

/// The kind of a details' code; none where it is no code of goku's.
fn kind(code: &str, parameters: &[KeyValue]) -> Option<ErrorKind> {
    if code == UPDATE_RACE {
        return Some(ErrorKind::Unavailable);
    }
    match ErrorKind::all().find(|kind| codes(*kind).1 == code)? {
        ErrorKind::Compacted { .. } => Some(ErrorKind::Compacted {
            oldest: number(parameters, OLDEST, EventId::new).unwrap_or_default(),
        }),
        ErrorKind::AnswerNotKept { .. } => Some(ErrorKind::AnswerNotKept {
            rev: number(parameters, REV, Revision::new),
        }),
        ErrorKind::CursorBackward { .. } => Some(ErrorKind::CursorBackward {
            at: number(parameters, AT, EventId::new).unwrap_or_default(),
        }),
        ErrorKind::Fenced { .. } => Some(ErrorKind::Fenced {
            token: FencingToken::new(parameter(parameters, TOKEN).unwrap_or_default()),
        }),
        kind => Some(kind),
    }
}

/// The number that a parameter holds; none where it is not there, or none that can be read.
fn number<T>(parameters: &[KeyValue], name: &str, new: fn(i64) -> goku::Result<T>) -> Option<T> {
    new(parameter(parameters, name)?).ok()
}

fn parameter<T: std::str::FromStr>(parameters: &[KeyValue], name: &str) -> Option<T> {
    let parameter = parameters.iter().find(|parameter| parameter.key == name)?;
    parameter.value.parse().ok()
}

/// The parameter of a kind that has one.
fn parameter_of(kind: ErrorKind) -> Option<(&'static str, String)> {
    match kind {
        ErrorKind::Compacted { oldest } => Some((OLDEST, oldest.to_string())),
        ErrorKind::AnswerNotKept { rev } => rev.map(|rev| (REV, rev.to_string())),
        ErrorKind::CursorBackward { at } => Some((AT, at.to_string())),
        ErrorKind::Fenced { token } => Some((TOKEN, token.to_string())),
        _ => None,
    }
}

/// The part of an answer about a part of a request that failed by `error`.
pub(crate) fn to_refusal(error: &Error) -> Refusal {
    Refusal {
        code: codes(error.kind()).1.to_owned(),
        message: shortened(error.message()).to_owned(),
        parameters: parameter_of(error.kind())
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect(),
    }
}

/// The error that an answer tells of a part of a request.
pub(crate) fn from_refusal(refusal: Refusal) -> Error {
    let parameters: Vec<_> = refusal
        .parameters
        .into_iter()
        .map(|(key, value)| KeyValue { key, value })
        .collect();
    let kind = kind(&refusal.code, &parameters).unwrap_or(ErrorKind::Internal);
    Error::new(kind, refusal.message)
}

impl Details {
    /// The forms that the sender of a request with these headers reads.
    pub(crate) fn for_client(headers: &MetadataMap) -> Details {
        let version = headers
            .get("user-agent")
            .and_then(|agent| agent.to_str().ok())
            .and_then(grpc_go_minor);
        match version {
            Some(minor) if minor < WRAPPED_ERROR_SINCE => Details::Hop,
            _ => Details::HopAndWrappedError,
        }
    }
}

/// The N of a `grpc-go/1.N` in a user agent, which may begin with the application's own.
fn grpc_go_minor(agent: &str) -> Option<u32> {
    let version = agent.split_once("grpc-go/1.")?.1;
    let digits = version
        .find(|c: char| !c.is_ascii_digit())
        .map_or(version, |end| &version[..end]);
    digits.parse().ok()
}

/// The status that tells a client of `error`.
pub(crate) fn to_status(error: &Error, form: Details) -> Status {
    let (code, name) = codes(error.kind());
    let parameters = parameter_of(error.kind()).map(|(key, value)| KeyValue {
        key: key.to_owned(),
        value,
    });
    let parameters = parameters.into_iter().collect();
    let message = shortened(error.message());
    let details = details(code, message, name, parameters, form);
    Status::with_details(code, message, details.into())
}

fn shortened(message: &str) -> &str {
    let end = (0..=TEXT_BYTES_MAX.min(message.len()))
        .rfind(|end| message.is_char_boundary(*end))
        .unwrap_or(0);
    &message[..end]
}

fn details(code: Code, message: &str, name: &str, parameters: Vec<KeyValue>, form: Details) -> Vec<u8> {
    let any = |url: &str, value| Any {
        type_url: url.to_owned(),
        value,
    };
    let hop = Hop {
        errors: vec![HopError {
            message: message.to_owned(),
            code: name.to_owned(),
            parameters: parameters.clone(),
            ..HopError::default()
        }],
        ..Hop::default()
    };
    let mut details = vec![any(HOP_URL, hop.encode_to_vec())];
    if form == Details::HopAndWrappedError {
        let wrapped = WrappedError {
            message: message.to_owned(),
            code: name.to_owned(),
            key_values: parameters,
            ..WrappedError::default()
        };
        details.push(any(WRAPPED_ERROR_URL, wrapped.encode_to_vec()));
    }
    rpc::Status {
        code: code.into(),
        message: message.to_owned(),
        details,
    }
    .encode_to_vec()
}

/// The error that a status tells of, from whichever server or layer it is.
pub(crate) fn from_status(status: Status, call: Call) -> Error {
    let known = known(status.details());
    let kind = match &known {
        Some((kind, _)) => *kind,
        None => plain_kind(&status, call),
    };
    let message = match known {
        // The original's outermost message may be empty, or only say that something was received.
        Some((_, message)) if !message.is_empty() => message,
        _ if !status.message().is_empty() => status.message().to_owned(),
        _ => status.code().description().to_owned(),
    };
    let error = Error::new(kind, message);
    if std::error::Error::source(&status).is_some() || status.code() == Code::DeadlineExceeded {
        return error.with_source(status);
    }
    error
}

/// Whether an error says no more than that there was no answer in time.
pub(crate) fn is_late(error: &Error) -> bool {
    sources(error).any(|source| {
        let status = source.downcast_ref::<Status>();
        source.is::<TimeoutExpired>() || status.is_some_and(|status| status.code() == Code::DeadlineExceeded)
    })
}

/// The first error in a status's details that is one of goku's.
fn known(details: &[u8]) -> Option<(ErrorKind, String)> {
    if details.is_empty() {
        return None;
    }
    let status = rpc::Status::decode(details).ok()?;
    status.details.into_iter().find_map(|any| match any.type_url.as_str() {
        HOP_URL => Hop::decode(any.value.as_slice())
            .ok()?
            .errors
            .into_iter()
            .find_map(|error| Some((kind(&error.code, &error.parameters)?, error.message))),
        WRAPPED_ERROR_URL => known_wrapped(WrappedError::decode(any.value.as_slice()).ok()?),
        _ => None,
    })
}

fn known_wrapped(error: WrappedError) -> Option<(ErrorKind, String)> {
    if let Some(kind) = kind(&error.code, &error.key_values) {
        return Some((kind, error.message));
    }
    let inner = error.wrapped_error.map(|inner| *inner);
    error.joined_errors.into_iter().chain(inner).find_map(known_wrapped)
}

/// The kind of a status without details: of a proxy, of tonic, or of a connection that failed.
fn plain_kind(status: &Status, call: Call) -> ErrorKind {
    let unanswered = match call {
        Call::Write if !was_not_sent(status) => ErrorKind::OutcomeUnknown,
        _ => ErrorKind::Unavailable,
    };
    match status.code() {
        // The answer came and cannot be read.
        Code::InvalidArgument if is_malformed(status) => match call {
            Call::Write => ErrorKind::OutcomeUnknown,
            Call::Read => ErrorKind::Internal,
        },
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists | Code::FailedPrecondition => ErrorKind::ConditionFailed,
        Code::ResourceExhausted | Code::OutOfRange => ErrorKind::TooLarge,
        Code::Unimplemented => ErrorKind::Unsupported,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::DataLoss => ErrorKind::Internal,
        Code::Internal if call == Call::Read && !is_of_connection(status) => ErrorKind::Internal,
        _ => unanswered,
    }
}

fn is_malformed(status: &Status) -> bool {
    sources(status).any(|source| source.is::<Malformed>())
}

/// Whether the request certainly did not leave this process.
fn was_not_sent(status: &Status) -> bool {
    sources(status).any(|source| source.is::<ConnectError>() || is_cancelled(source))
}

/// Whether the connection ended before the request was sent on it.
pub(crate) fn is_cut_off(error: &Error) -> bool {
    sources(error).any(is_cancelled)
}

fn is_cancelled(source: &(dyn std::error::Error + 'static)) -> bool {
    source
        .downcast_ref::<hyper::Error>()
        .is_some_and(hyper::Error::is_canceled)
}

/// Whether the connection failed, or the server took leave of it (GOAWAY) before it looked at the request.
fn is_of_connection(status: &Status) -> bool {
    sources(status).any(|source| source.is::<hyper::Error>())
}

/// Whether no connection could be made.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    sources(error).any(|source| source.is::<ConnectError>())
}

/// The causes of an error, from the nearest to the root.
pub(crate) fn sources<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| error.source())
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

    use super::*;

    fn every_kind() -> impl Iterator<Item = ErrorKind> {
        let with_parameters = [
            ErrorKind::Compacted {
                oldest: EventId::new(i64::MAX).unwrap(),
            },
            ErrorKind::AnswerNotKept {
                rev: Some(Revision::new(71).unwrap()),
            },
            ErrorKind::CursorBackward {
                at: EventId::new(i64::MAX).unwrap(),
            },
            ErrorKind::Fenced {
                token: FencingToken::new(u64::MAX),
            },
        ];
        ErrorKind::all().chain(with_parameters)
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let mut codes: Vec<_> = ErrorKind::all().map(|kind| codes(kind).1).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ErrorKind::all().count());
    }

    #[test]
    fn every_kind_goes_around_without_loss() {
        for kind in every_kind() {
            for form in [Details::Hop, Details::HopAndWrappedError] {
                for call in [Call::Read, Call::Write] {
                    let status = to_status(&Error::new(kind, "what happened"), form);
                    assert!(!matches!(
                        status.code(),
                        Code::Ok | Code::Cancelled | Code::DeadlineExceeded
                    ));
                    let inside = rpc::Status::decode(status.details()).unwrap();
                    assert_eq!(inside.code, i32::from(status.code()), "the code stands twice");
                    let back = from_status(status, call);
                    assert_eq!(back.kind(), kind);
                    assert_eq!(back.message(), "what happened");
                }
            }
            let back = from_refusal(to_refusal(&Error::new(kind, "what happened")));
            assert_eq!((back.kind(), back.message()), (kind, "what happened"));
        }
    }

    #[test]
    fn details_are_the_bytes_that_clients_of_the_original_know() {
        let details = |form| details(Code::Unknown, "key not found", "ERR_1c1777690f774c97", Vec::new(), form);
        let golden = "CAISDWtleSBub3QgZm91bmQaTQoidHlwZS5nb29nbGVhcGlzLmNvbS9qZXR0aXNvbnBiLkhvcBInEiUKDWtleSBub3QgZm91\
             bmQiFEVSUl8xYzE3Nzc2OTBmNzc0Yzk3";
        assert_eq!(BASE64_STANDARD.encode(details(Details::Hop)), golden);
        let golden = format!(
            "{golden}GlQKK3R5cGUuZ29vZ2xlYXBpcy5jb20vamV0dGlzb25wYi5XcmFwcGVkRXJyb3ISJQoNa2V5IG5vdCBmb3VuZDoURVJSXzFjMTc3\
             NzY5MGY3NzRjOTc"
        );
        assert_eq!(
            BASE64_STANDARD_NO_PAD.encode(details(Details::HopAndWrappedError)),
            golden
        );
    }

    #[test]
    fn the_generation_of_a_client_shows_in_its_user_agent() {
        let form = |agent: &'static str| {
            let mut headers = MetadataMap::new();
            headers.insert("user-agent", agent.parse().unwrap());
            Details::for_client(&headers)
        };
        for old in [
            "grpc-go/1.29.1",
            "grpc-go/1.55.0",
            "locker/2 grpc-go/1.9",
            "grpc-go/1.0",
        ] {
            assert_eq!(form(old), Details::Hop, "{old}");
        }
        for new in [
            "grpc-go/1.56.0",
            "grpc-go/1.100.0-dev",
            "grpc-go/2.1.0",
            "tonic/0.14",
            "",
            "grpc-go/1.",
        ] {
            assert_eq!(form(new), Details::HopAndWrappedError, "{new}");
        }
        assert_eq!(Details::for_client(&MetadataMap::new()), Details::HopAndWrappedError);
    }

    #[test]
    fn a_code_is_found_wherever_it_stands() {
        // As the original sends it: an empty message, wraps whose codes are their texts, the sentinel inside.
        let hop = Hop {
            errors: ["recv error 2", "ERR_b4b155d2a91cfcd0"]
                .map(|code| HopError {
                    message: "outer or inner".to_owned(),
                    code: code.to_owned(),
                    ..HopError::default()
                })
                .to_vec(),
            ..Hop::default()
        };
        let wrapped = WrappedError {
            message: "outer".to_owned(),
            wrapped_error: Some(Box::new(WrappedError {
                joined_errors: vec![
                    WrappedError::default(),
                    WrappedError {
                        code: UPDATE_RACE.to_owned(),
                        ..WrappedError::default()
                    },
                ],
                ..WrappedError::default()
            })),
            ..WrappedError::default()
        };
        let status = |url: &str, value| {
            let details = rpc::Status {
                details: vec![Any {
                    type_url: url.to_owned(),
                    value,
                }],
                ..rpc::Status::default()
            };
            Status::with_details(Code::Unknown, "", details.encode_to_vec().into())
        };
        let error = from_status(status(HOP_URL, hop.encode_to_vec()), Call::Read);
        assert_eq!(error.kind(), ErrorKind::HeadReached);
        let error = from_status(status(WRAPPED_ERROR_URL, wrapped.encode_to_vec()), Call::Write);
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    #[test]
    fn a_plain_status_means_what_its_code_says_and_a_write_without_an_answer_is_unknown() {
        let kind = |code, call| from_status(Status::new(code, "said"), call).kind();
        assert_eq!(kind(Code::Unimplemented, Call::Write), ErrorKind::Unsupported);
        assert_eq!(kind(Code::ResourceExhausted, Call::Write), ErrorKind::TooLarge);
        for code in [
            Code::Cancelled,
            Code::Unknown,
            Code::DeadlineExceeded,
            Code::Aborted,
            Code::Unavailable,
        ] {
            assert_eq!(kind(code, Call::Read), ErrorKind::Unavailable, "{code:?}");
            assert_eq!(kind(code, Call::Write), ErrorKind::OutcomeUnknown, "{code:?}");
        }
        let garbage = Status::with_details(Code::NotFound, "said", vec![0xff; 3].into());
        assert_eq!(from_status(garbage, Call::Read).kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let status = to_status(&Error::new(ErrorKind::Internal, "é".repeat(4000)), Details::Hop);
        assert_eq!(status.message().len(), TEXT_BYTES_MAX);
    }
}
