//! A client that writes the frames of HTTP/2 itself, as many at once as it likes.

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const WINDOW_MAX: u32 = (1 << 31) - 1;

/// Bytes of a frame's payload, by default.
const FRAME_BYTES_MAX: usize = 16 * 1024;

/// A connection, and what came on it.
pub(crate) struct Frames {
    io: TcpStream,
    received: BytesMut,
    to_send: Vec<u8>,
    last_id: u32,
    /// What came of each call: how many bytes.
    pub(crate) answers: BTreeMap<u32, usize>,
    /// The calls whose answer has ended.
    pub(crate) ended: BTreeSet<u32>,
    /// The calls that the server reset, and why.
    pub(crate) resets: BTreeMap<u32, u32>,
    /// The server's settings, by their numbers.
    pub(crate) settings: BTreeMap<u16, u32>,
    /// The bytes that the server takes on the connection beside those that it takes by default.
    pub(crate) window: u32,
    /// The reason for which the server took leave, where the test expects that.
    pub(crate) left: Option<u32>,
    /// Whether the test expects that the server takes leave.
    pub(crate) may_leave: bool,
    /// Whether the server closed the connection after that.
    pub(crate) closed: bool,
}

impl Frames {
    /// Connects to `endpoint`, and lets the server send without limit.
    pub(crate) async fn connect(endpoint: &str) -> Frames {
        let io = TcpStream::connect(endpoint.trim_start_matches("http://"))
            .await
            .unwrap();
        let mut frames = Frames {
            io,
            received: BytesMut::new(),
            to_send: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            last_id: 0,
            answers: BTreeMap::new(),
            ended: BTreeSet::new(),
            resets: BTreeMap::new(),
            settings: BTreeMap::new(),
            window: 0,
            left: None,
            may_leave: false,
            closed: false,
        };
        let mut window = vec![0, 4];
        window.extend(WINDOW_MAX.to_be_bytes());
        frames.put(SETTINGS, 0, 0, &window);
        frames.put(WINDOW_UPDATE, 0, 0, &(WINDOW_MAX - 65_535).to_be_bytes());
        frames
    }

    /// Prepares a call with no message yet, and returns its id.
    pub(crate) fn begin(&mut self, path: &str) -> u32 {
        self.last_id = self.last_id.max(1) + 2;
        self.put(HEADERS, END_HEADERS, self.last_id, &header_block(path));
        self.last_id
    }

    /// Prepares a call with a header of so many bytes beside the necessary ones, in as many frames as that takes.
    pub(crate) fn begin_large(&mut self, path: &str, bytes: usize) -> u32 {
        self.last_id = self.last_id.max(1) + 2;
        let mut block = header_block(path);
        block.extend([0x00, 5]);
        block.extend(b"large\x7f");
        // An integer of HPACK with a prefix of seven bits, which are full.
        let mut rest = bytes - 0x7f;
        while rest >= 0x80 {
            block.push(u8::try_from(rest % 0x80).unwrap() | 0x80);
            rest /= 0x80;
        }
        block.push(u8::try_from(rest).unwrap());
        block.resize(block.len() + bytes, b'm');
        let last = block.len().div_ceil(FRAME_BYTES_MAX) - 1;
        for (number, piece) in block.chunks(FRAME_BYTES_MAX).enumerate() {
            let kind = if number == 0 { HEADERS } else { CONTINUATION };
            let flags = if number == last { END_HEADERS } else { 0 };
            self.put(kind, flags, self.last_id, piece);
        }
        self.last_id
    }

    /// Prepares a frame of headers, and never their end.
    pub(crate) fn begin_endless(&mut self, path: &str) {
        self.last_id = self.last_id.max(1) + 2;
        self.put(HEADERS, 0, self.last_id, &header_block(path));
    }

    /// Prepares an empty frame of more headers for the last call.
    pub(crate) fn go_on(&mut self) {
        self.put(CONTINUATION, 0, self.last_id, &[]);
    }

    /// Prepares a whole call.
    pub(crate) fn call(&mut self, path: &str, message: &impl Message) -> u32 {
        let id = self.begin(path);
        let message = message.encode_to_vec();
        let mut framed = vec![0];
        framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        framed.extend(message);
        self.put(DATA, END_STREAM, id, &framed);
        id
    }

    /// Prepares some bytes of a call's message.
    pub(crate) fn data(&mut self, id: u32, bytes: &[u8]) {
        self.put(DATA, 0, id, bytes);
    }

    /// Prepares the cancellation of a call.
    pub(crate) fn cancel(&mut self, id: u32) {
        self.put(RST_STREAM, 0, id, &8_u32.to_be_bytes());
    }

    /// Sends all that was prepared, at once.
    pub(crate) async fn send(&mut self) -> std::io::Result<()> {
        let bytes = std::mem::take(&mut self.to_send);
        self.io.write_all(&bytes).await
    }

    /// Reads until `enough`. Panics where the server ends the connection before.
    pub(crate) async fn read_until(&mut self, enough: impl Fn(&Frames) -> bool) {
        while !enough(self) {
            while let Some((kind, flags, id, payload)) = self.take_frame() {
                let told = String::from_utf8_lossy(&payload);
                assert!(kind != GOAWAY || self.may_leave, "the server took leave: {told:?}");
                match kind {
                    DATA => *self.answers.entry(id).or_default() += payload.len(),
                    SETTINGS if flags & ACK == 0 => {
                        for setting in payload.chunks_exact(6) {
                            let (number, value) = setting.split_at(2);
                            let number = u16::from_be_bytes(number.try_into().unwrap());
                            self.settings.insert(number, number_at(value, 0));
                        }
                        self.put(SETTINGS, ACK, 0, &[]);
                    }
                    WINDOW_UPDATE if id == 0 => self.window += number_at(&payload, 0),
                    RST_STREAM => {
                        self.resets.insert(id, number_at(&payload, 0));
                    }
                    GOAWAY => self.left = Some(number_at(&payload, 4)),
                    PING if flags & ACK == 0 => self.put(PING, ACK, 0, &payload),
                    _ => {}
                }
                if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                    self.ended.insert(id);
                }
            }
            if enough(self) {
                break;
            }
            let sent = self.send().await;
            assert!(sent.is_ok() || self.may_leave, "{sent:?}");
            let read = self.io.read_buf(&mut self.received).await;
            self.closed = self.may_leave && read.as_ref().map_or(true, |read| *read == 0);
            assert!(self.closed || read.unwrap() > 0, "the server closed the connection");
            if self.closed {
                assert!(enough(self), "the server closed the connection");
                break;
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let header: [u8; 9] = self.received.get(..9)?.try_into().unwrap();
        let [a, b, c, kind, flags, id @ ..] = header;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if self.received.len() < 9 + length {
            return None;
        }
        let frame = self.received.split_to(9 + length);
        Some((kind, flags, u32::from_be_bytes(id), frame[9..].to_vec()))
    }

    fn put(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.to_send.extend(&length[1..]);
        self.to_send.extend([kind, flags]);
        self.to_send.extend(id.to_be_bytes());
        self.to_send.extend(payload);
    }
}

/// The headers that a call needs: `:method POST`, `:scheme http`, and three literals.
fn header_block(path: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (&[0x04_u8][..], path),
        (&[0x0f, 0x10], "application/grpc"),
        (&[0x00, 2, b't', b'e'], "trailers"),
    ] {
        block.extend(name);
        block.push(u8::try_from(value.len()).unwrap());
        block.extend(value.as_bytes());
    }
    block
}

fn number_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
