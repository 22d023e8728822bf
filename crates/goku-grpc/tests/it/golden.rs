//! Bytes that clients of the original send and expect, as seen on its wire.

use goku::{Entry, Event, Expiry, Key, SetRequest, StreamItem, Write};
use goku_grpc::proto::reflexpb;
use prost::Message;

use crate::fake::Asked;
use crate::sample::{entry, event, event_id, key, time};
use crate::served::Served;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

/// An event as the original has it: nothing more precise than a second, no value.
fn bare_event() -> Event {
    Event {
        id: event_id(1),
        key: key("k"),
        value: "".into(),
        timestamp: time(1_600_000_000_000),
        ..event()
    }
}

#[tokio::test]
async fn a_set_without_options_from_a_go_client_has_no_deadline() {
    let served = Served::new();
    let sent = hex("0a046b6579311a0b088092b8c398feffffff01");
    let answer = served.raw().await.call("/gokupb.Goku/Set", &sent).await;
    assert_eq!(answer.status.code(), tonic::Code::Ok);
    let asked = SetRequest::new(key("key1"), "").expiry(Expiry::Never);
    assert_eq!(served.fake.asked(), [Asked::Write(Write::Set(asked))]);
}

#[tokio::test]
async fn an_event_begins_with_the_bytes_of_the_originals() {
    let served = Served::new();
    served.fake.deliver([Ok(StreamItem::Event(bare_event()))]);
    let answer = served.raw().await.call("/gokupb.Goku/Stream", &[]).await;
    let golden = hex("180122060880a0f8fa052a016b320131");
    let (original, ours) = answer.messages[0].split_at(golden.len());
    assert_eq!(original, golden);
    // What follows is one field of 16 or above: tag 16, length-delimited, is 0x82 0x01.
    assert_eq!(ours[..2], [0x82, 0x01]);
    assert_eq!(ours.len(), 3 + usize::from(ours[2]));
}

/// The fields of a message: their numbers and, where they have a length, their bytes. Fails as a client of the original does,
/// for which text that is not UTF-8 in the field `text` spoils the whole message.
fn decode(mut message: &[u8], text: u32) -> Vec<(u32, Vec<u8>)> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (number, wire_type) = decode_key(&mut message).unwrap();
        if wire_type != WireType::LengthDelimited {
            skip_field(wire_type, number, &mut message, DecodeContext::default()).unwrap();
            continue;
        }
        let length = usize::try_from(decode_varint(&mut message).unwrap()).unwrap();
        let (bytes, rest) = message.split_at(length);
        if number == text {
            std::str::from_utf8(bytes).expect("string field contains invalid UTF-8");
        }
        fields.push((number, bytes.to_vec()));
        message = rest;
    }
    fields
}

fn field(message: &[u8], text: u32, number: u32) -> Vec<u8> {
    let mut fields = decode(message, text).into_iter();
    let found = fields.find(|(found, _)| *found == number);
    found.map_or_else(Vec::new, |(_, bytes)| bytes)
}

#[tokio::test]
async fn lists_and_streams_of_the_originals_clients_leave_out_keys_that_are_no_text() {
    let of_bytes = Key::from_bytes(b"a\xff").unwrap();
    let long = Key::from_bytes("l".repeat(1024)).unwrap();
    let keys = [key("a"), of_bytes, key("b"), long];
    let entries = || keys.clone().map(|key| Ok(Entry { key, ..entry() }));
    let events = || {
        let event = |key| StreamItem::Event(Event { key, ..event() });
        keys.clone().map(|key| Ok(event(key)))
    };
    let texts = [&b"a"[..], b"b", &[b'l'; 1024]];

    let served = Served::new();
    let mut raw = served.raw().await;
    served.fake.have(entries());
    let list = raw.call("/gokupb.Goku/List", &[]).await;
    let listed: Vec<_> = list.messages.iter().map(|message| field(message, 1, 1)).collect();
    assert_eq!(listed, texts);
    served.fake.deliver(events());
    let stream = raw.call("/gokupb.Goku/Stream", &[]).await;
    let streamed: Vec<_> = stream.messages.iter().map(|message| field(message, 5, 5)).collect();
    assert_eq!(streamed, texts);
    served.fake.deliver(events());
    let stream = raw.call("/reflexpb.Reflex/Stream", &[]).await;
    assert_eq!(stream.messages.len(), texts.len());

    // Whoever asks for any key gets all.
    let any_key = goku_grpc::proto::gokupb::ListRequest {
        any_key: true,
        ..goku_grpc::proto::gokupb::ListRequest::default()
    };
    served.fake.have(entries());
    let list = raw.call("/gokupb.Goku/List", &any_key.encode_to_vec()).await;
    let listed: Vec<_> = list
        .messages
        .iter()
        .map(|message| (field(message, 1, 1), field(message, 1, 20)))
        .collect();
    assert_eq!(listed.len(), keys.len());
    assert_eq!(listed[1], (Vec::new(), b"a\xff".to_vec()));
}

#[tokio::test]
async fn what_is_left_out_of_a_list_does_not_count() {
    let served = Served::new();
    let keys = [&b"\xfe"[..], b"a", b"\xff", b"b", b"c"].map(|key| Key::from_bytes(key).unwrap());
    served.fake.have(keys.map(|key| Ok(Entry { key, ..entry() })));
    let request = goku_grpc::proto::gokupb::ListRequest {
        limit: Some(2),
        ..goku_grpc::proto::gokupb::ListRequest::default()
    };
    let mut raw = served.raw().await;
    let list = raw.call("/gokupb.Goku/List", &request.encode_to_vec()).await;
    let listed: Vec<_> = list.messages.iter().map(|message| field(message, 1, 1)).collect();
    assert_eq!(listed, [b"a", b"b"]);
}

#[tokio::test]
async fn an_event_without_our_detail_is_the_originals_to_the_byte() {
    let event = reflexpb::Event {
        detail: None,
        ..StreamItem::Event(bare_event()).try_into().unwrap()
    };
    assert_eq!(event.encode_to_vec(), hex("180122060880a0f8fa052a016b320131"));
}

#[tokio::test]
async fn the_details_of_key_not_found_are_those_that_clients_of_both_generations_compare() {
    let served = Served::new();
    served
        .fake
        .fail_with(goku::Error::new(goku::ErrorKind::NotFound, "key not found"));
    let hop = hex("12250a0d6b6579206e6f7420666f756e6422144552525f31633137373736393066373734633937");
    let wrapped = hex("0a0d6b6579206e6f7420666f756e643a144552525f31633137373736393066373734633937");
    let hop = ("type.googleapis.com/jettisonpb.Hop".to_owned(), hop);
    let wrapped = ("type.googleapis.com/jettisonpb.WrappedError".to_owned(), wrapped);

    let mut raw = served.raw().await;
    for (agent, details) in [
        ("grpc-go/1.29.1", vec![hop.clone()]),
        ("grpc-go/1.56.0", vec![hop.clone(), wrapped.clone()]),
        ("somebody", vec![hop, wrapped]),
    ] {
        let answer = raw
            .call_with("/gokupb.Goku/Get", &[("user-agent", agent)], b"\x0a\x01k")
            .await;
        assert_eq!(answer.status.code(), tonic::Code::NotFound);
        assert_eq!(answer.details(), details, "{agent}");
    }
}
