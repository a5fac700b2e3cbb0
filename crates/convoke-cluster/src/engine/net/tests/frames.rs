use bytes::{BufMut, Bytes, BytesMut};
use convoke_testing::proptest_cases;
use proptest::prelude::*;

use crate::engine::net::frame::{Frame, FrameError, VERSION, decode, encode};
use crate::engine::net::kind::Kind;

const ALL: &[Kind] = &Kind::ALL;

fn head(length: u32, version: u8, kind: u8) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.put_u32_le(length);
    bytes.put_u8(version);
    bytes.put_u8(kind);
    bytes
}

#[test]
fn every_kind_has_a_limit_and_one_byte_more_is_refused_before_it_is_read() {
    for kind in Kind::ALL {
        let bytes_max = kind.body_bytes_max();
        let whole = u32::try_from(bytes_max + 2).expect("fits");
        assert_eq!(
            decode(&mut head(whole, VERSION, kind as u8), ALL),
            Ok(None),
            "{kind:?} at its limit is waited for"
        );
        let bytes = bytes_max + 1;
        let error = FrameError::TooLarge { kind, bytes, bytes_max };
        assert_eq!(decode(&mut head(whole + 1, VERSION, kind as u8), ALL), Err(error));
    }
}

#[test]
fn a_message_beyond_its_limit_is_not_sent() {
    let why = "x".repeat(Kind::Failed.body_bytes_max());
    assert!(matches!(encode(Kind::Failed, &why), Err(FrameError::TooLarge { kind: Kind::Failed, .. })));
}

#[test]
fn the_head_alone_decides_who_is_refused() {
    assert_eq!(
        decode(&mut head(2, VERSION + 1, Kind::Vote as u8), ALL),
        Err(FrameError::Version(VERSION + 1))
    );
    assert_eq!(decode(&mut head(2, VERSION, 255), ALL), Err(FrameError::UnknownKind(255)));
    let unexpected = decode(&mut head(2, VERSION, Kind::Append as u8), &[Kind::Vote]);
    assert_eq!(unexpected, Err(FrameError::Unexpected(Kind::Append)));
    assert_eq!(decode(&mut head(1, VERSION, Kind::Vote as u8), ALL), Err(FrameError::TooShort(1)));
    let http = decode(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]), ALL);
    assert!(http.is_err(), "{http:?}");
}

#[test]
fn what_is_left_over_behind_a_message_is_a_mistake() {
    let frame = Frame { kind: Kind::SnapshotEnd, body: Bytes::from_static(&[7, 7]) };
    assert!(frame.read::<u64>().is_err());
    assert_eq!(frame.ticket().expect("a ticket").1.read::<u64>(), Ok(7));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(proptest_cases(500)))]

    #[test]
    fn any_bytes_are_frames_or_refused_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let mut arrived = BytesMut::from(&bytes[..]);
        while let Ok(Some(frame)) = decode(&mut arrived, ALL) {
            prop_assert!(frame.body.len() <= frame.kind.body_bytes_max());
            let _ = frame.read::<openraft::raft::AppendEntriesRequest<crate::engine::types::Types>>();
            let _ = frame.read::<super::super::handshake::Hello>();
            let _ = frame.ticket();
        }
    }

    #[test]
    fn frames_that_arrive_in_pieces_are_the_frames_that_were_sent(
        messages in proptest::collection::vec((0..Kind::ALL.len(), proptest::collection::vec(any::<u8>(), 0..900)), 1..20),
        cuts in proptest::collection::vec(1_usize..700, 1..50),
    ) {
        let mut wire = Vec::new();
        for (kind, message) in &messages {
            wire.extend_from_slice(&encode(Kind::ALL[*kind], message).expect("below every limit"));
        }
        let (mut arrived, mut read, mut cuts) = (BytesMut::new(), Vec::new(), cuts.iter().cycle());
        let mut rest = &wire[..];
        while !rest.is_empty() {
            let (piece, later) = rest.split_at((*cuts.next().expect("endless")).min(rest.len()));
            arrived.extend_from_slice(piece);
            rest = later;
            while let Some(frame) = decode(&mut arrived, ALL).expect("whole frames") {
                read.push((frame.kind, frame.read::<Vec<u8>>().expect("what was sent")));
            }
        }
        prop_assert!(arrived.is_empty());
        let sent: Vec<_> = messages.into_iter().map(|(kind, message)| (Kind::ALL[kind], message)).collect();
        prop_assert_eq!(read, sent);
    }
}
