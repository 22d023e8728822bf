//! The codec between messages and their bytes.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// First size of the buffer that a message is read or written in. tonic's 8 KiB would be most of what a call on small
/// values allocates; larger messages grow it at once to their size.
const BUFFER_BYTES: usize = 1024;

/// The bytes of a stream's messages that are gathered before they go out together.
const YIELD_BYTES: usize = 32 * 1024;

/// Protobuf messages. A peer's message that is malformed is its mistake: `InvalidArgument`, with `Malformed` as the
/// source, where prost's codec would say `Internal`.
#[derive(Debug)]
pub struct ProtoCodec<T, U>(PhantomData<(T, U)>);

/// Writes messages of one type.
#[derive(Debug)]
pub struct ProtoEncoder<T>(PhantomData<T>);

/// Reads messages of one type.
#[derive(Debug)]
pub struct ProtoDecoder<U>(PhantomData<U>);

/// A message of the peer that could not be read.
#[derive(Debug)]
pub(crate) struct Malformed(prost::DecodeError);

impl<T, U> Default for ProtoCodec<T, U> {
    fn default() -> Self {
        ProtoCodec(PhantomData)
    }
}

impl<T, U> Codec for ProtoCodec<T, U>
where
    T: Message + 'static,
    U: Message + Default + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProtoEncoder<T>;
    type Decoder = ProtoDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProtoEncoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProtoDecoder(PhantomData)
    }
}

impl<T: Message> Encoder for ProtoEncoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.reserve(item.encoded_len());
        item.encode(buffer)
            .map_err(|error| Status::internal(format!("a message could not be written: {error}")))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl<U: Message + Default> Decoder for ProtoDecoder<U> {
    type Item = U;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<U>, Status> {
        U::decode(buffer).map(Some).map_err(|error| {
            let mut status = Status::invalid_argument(format!("malformed message: {error}"));
            status.set_source(Arc::new(Malformed(error)));
            status
        })
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, YIELD_BYTES)
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed message: {}", self.0)
    }
}

impl std::error::Error for Malformed {}
