//! The codec against what strangers may send: bombs, lies, noise, and values cut short.

use std::collections::BTreeMap;
use std::thread;

use bytes::Bytes;
use convoke_core::{Codec, CodecError, CodecErrorKind, Limits, fingerprint};
use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What a worker thread has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// The type whose nesting the parser's own guard does not see.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
    Pair { left: Box<Tree>, right: Box<Tree> },
    Many(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
    Maybe(Option<Box<Tree>>, f64),
    Blob(Bytes),
    Number(i64),
    Text(String),
}

/// Decodes on a worker's stack, in which an overflow would abort this process.
fn decode_on_a_worker<T>(codec: Codec, payload: Vec<u8>, limits: Limits) -> Result<T, CodecError>
where
    T: DeserializeOwned + Send + 'static,
{
    let decode = move || codec.decode(&payload, &limits);
    let worker =
        thread::Builder::new().stack_size(STACK_BYTES).spawn(decode).expect("a thread can be spawned");
    worker.join().expect("decoding does not panic")
}

#[track_caller]
fn check<T>(codec: Codec, payload: impl Into<Vec<u8>>, expected: Result<(), CodecErrorKind>)
where
    T: DeserializeOwned + Send + 'static,
{
    let found = decode_on_a_worker::<T>(codec, payload.into(), Limits::default());
    assert_eq!(found.map(drop).map_err(|error| error.kind()), expected);
}

/// `{"Node": {"Node": .. "Leaf"}}`, as long as a hostile sender likes.
fn chain(depth: usize) -> Vec<u8> {
    [b"\x81\xa4Node".repeat(depth), b"\xa4Leaf".to_vec()].concat()
}

fn nested_arrays(depth: usize) -> Vec<u8> {
    [vec![0x91; depth], vec![0xc0]].concat()
}

#[test]
fn a_recursive_enum_of_120_kilobytes_is_refused_and_aborts_nothing() {
    let bomb = chain(20_000);
    assert!(bomb.len() > 120_000);
    check::<Tree>(Codec::MessagePack, bomb, Err(CodecErrorKind::TooDeep));
}

#[test]
fn a_thousand_nested_arrays_are_refused_as_a_json_value() {
    check::<serde_json::Value>(Codec::MessagePack, nested_arrays(1000), Err(CodecErrorKind::TooDeep));
}

#[test]
fn a_json_depth_bomb_is_refused() {
    check::<serde_json::Value>(Codec::Json, "[".repeat(100_000), Err(CodecErrorKind::TooDeep));
    check::<serde_json::Value>(Codec::Json, "{\"a\":".repeat(100_000), Err(CodecErrorKind::TooDeep));
}

#[test]
fn the_default_depth_is_read_and_one_level_more_is_not() {
    check::<Tree>(Codec::MessagePack, chain(64), Ok(()));
    check::<Tree>(Codec::MessagePack, chain(65), Err(CodecErrorKind::TooDeep));
    check::<serde_json::Value>(Codec::MessagePack, nested_arrays(64), Ok(()));
    check::<serde_json::Value>(Codec::Json, [vec![b'['; 64], vec![b']'; 64]].concat(), Ok(()));
    check::<serde_json::Value>(
        Codec::Json,
        [vec![b'['; 65], vec![b']'; 65]].concat(),
        Err(CodecErrorKind::TooDeep),
    );
}

#[test]
fn the_deepest_nesting_that_can_be_allowed_fits_a_workers_stack() {
    let limits = Limits::default().depth_max(usize::MAX);
    let depth = Limits::DEPTH_CEILING;
    let value = |codec, payload| decode_on_a_worker::<serde_json::Value>(codec, payload, limits);
    let tree = |codec, payload| decode_on_a_worker::<Tree>(codec, payload, limits);
    assert!(tree(Codec::MessagePack, chain(depth)).is_ok());
    assert!(value(Codec::MessagePack, chain(depth)).is_ok());
    let json = format!("{}\"Leaf\"{}", "{\"Node\":".repeat(depth), "}".repeat(depth));
    assert!(tree(Codec::Json, json.clone().into_bytes()).is_ok());
    assert!(value(Codec::Json, json.into_bytes()).is_ok());
}

#[test]
fn declared_lengths_of_four_gibi_are_truncated() {
    for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
        check::<serde_json::Value>(
            Codec::MessagePack,
            [marker, 255, 255, 255, 255],
            Err(CodecErrorKind::Truncated),
        );
    }
}

#[test]
fn the_size_limit_is_inclusive() {
    for codec in [Codec::MessagePack, Codec::Json] {
        let payload = codec.encode(&[1, 2, 3]).expect("numbers encode");
        let limits = Limits::default().payload_bytes_max(payload.len());
        assert!(codec.decode::<Vec<u8>>(&payload, &limits).is_ok());
        let tight = limits.payload_bytes_max(payload.len() - 1);
        let error = codec.decode::<Vec<u8>>(&payload, &tight).expect_err("one byte too long");
        assert_eq!(error.kind(), CodecErrorKind::TooLarge);
    }
}

#[test]
fn too_many_items_are_refused_in_both_formats() {
    let limits = Limits::default().items_max(100);
    for codec in [Codec::MessagePack, Codec::Json] {
        let decode = |len: usize| {
            let payload = codec.encode(&vec![0; len]).expect("numbers encode");
            codec.decode::<Vec<u8>>(&payload, &limits).map(drop).map_err(|error| error.kind())
        };
        assert_eq!(decode(99), Ok(()), "the array itself is an item");
        assert_eq!(decode(100), Err(CodecErrorKind::TooManyItems));
    }
}

#[test]
fn nothing_may_follow_the_value() {
    check::<u8>(Codec::MessagePack, [1, 0xc0], Err(CodecErrorKind::Trailing));
    check::<u8>(Codec::Json, "1 2", Err(CodecErrorKind::Trailing));
    check::<u8>(Codec::Json, "1 \n", Ok(()));
}

#[test]
fn nothing_at_all_is_truncated() {
    check::<u8>(Codec::MessagePack, [], Err(CodecErrorKind::Truncated));
    check::<u8>(Codec::Json, "  ", Err(CodecErrorKind::Truncated));
    check::<bool>(Codec::Json, "tru", Err(CodecErrorKind::Truncated));
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u32,
    items: Vec<String>,
}

#[test]
fn what_is_malformed_names_the_field_or_the_place() {
    let decode = |codec: Codec, payload: &[u8]| {
        let error = codec.decode::<Order>(payload, &Limits::default()).expect_err("not an order");
        assert_eq!(error.kind(), CodecErrorKind::Malformed);
        error.to_string()
    };
    assert_eq!(decode(Codec::MessagePack, b"\x81\xa2id\x01"), "malformed MessagePack: missing field `items`");
    assert_eq!(decode(Codec::MessagePack, b"\x91\xc1"), "malformed MessagePack: reserved marker at byte 1");
    let json = "malformed JSON: missing field `items` at line 1 column 8";
    assert_eq!(decode(Codec::Json, b"{\"id\":1}"), json);
    assert!(decode(Codec::Json, b"{\"id\" 1}").contains("line 1 column 7"));
}

#[test]
fn a_struct_is_written_with_its_field_names() {
    let order = Order { id: 7, items: vec!["tea".to_owned()] };
    let payload = Codec::MessagePack.encode(&order).expect("an order encodes");
    assert_eq!(&payload[..], b"\x82\xa2id\x07\xa5items\x91\xa3tea");
    assert_eq!(payload, rmp_serde::to_vec_named(&order).expect("an order encodes"));
}

#[test]
fn strings_arrays_and_bytes_of_every_length_class_come_back() {
    for len in [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let value = (Bytes::from(vec![7; len]), "x".repeat(len), vec![Some(7); len]);
        for codec in [Codec::MessagePack, Codec::Json] {
            let payload = codec.encode(&value).expect("plain values encode");
            let back: (Bytes, String, Vec<Option<u8>>) =
                codec.decode(&payload, &Limits::default()).expect("what was encoded");
            assert!(back == value, "{codec:?} of length {len}");
        }
    }
}

#[test]
fn a_fraction_keeps_its_last_digit() {
    for codec in [Codec::MessagePack, Codec::Json] {
        let fraction = 930_097_760.218_536_3_f64;
        let payload = codec.encode(&fraction).expect("a number encodes");
        assert_eq!(codec.decode::<f64>(&payload, &Limits::default()).ok(), Some(fraction), "{codec:?}");
    }
}

#[test]
fn what_a_format_cannot_hold_is_an_encode_error() {
    let map = BTreeMap::from([(vec![1], 2)]);
    assert!(Codec::MessagePack.encode(&map).is_ok());
    let error = Codec::Json.encode(&map).expect_err("a JSON key cannot be an array");
    assert_eq!(error.kind(), CodecErrorKind::Encode);
}

fn cases() -> ProptestConfig {
    let cases = std::env::var("CONVOKE_PROPTEST_CASES").ok();
    let cases = cases.map_or(2000, |cases| cases.parse().expect("CONVOKE_PROPTEST_CASES is a number"));
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        Just(Tree::Leaf),
        Just(Tree::Maybe(None, 0.5)),
        any::<i64>().prop_map(Tree::Number),
        ".{0,40}".prop_map(Tree::Text),
        (0..20_usize).prop_map(|len| Tree::Blob(vec![0xc1; len].into())),
    ];
    leaf.prop_recursive(8, 16, 4, |tree| {
        prop_oneof![
            tree.clone().prop_map(|tree| Tree::Node(Box::new(tree))),
            (tree.clone(), tree.clone())
                .prop_map(|(left, right)| Tree::Pair { left: Box::new(left), right: Box::new(right) }),
            prop::collection::vec(tree.clone(), 0..5).prop_map(Tree::Many),
            prop::collection::btree_map("[a-z]{0,3}", tree.clone(), 0..5).prop_map(Tree::Named),
            (tree, -1.0e9..1.0e9).prop_map(|(tree, number)| Tree::Maybe(Some(Box::new(tree)), number)),
        ]
    })
}

/// Bytes that are mostly structure, which plain noise seldom is.
fn noise() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        any::<u8>(),
        prop::sample::select(
            b"\x80\x81\x82\x90\x91\x92\xa1\xc0\xc4\xc7\xd4\xd9\xdc\xdd\xde\xdf\x00".to_vec()
        ),
        prop::sample::select(b"[]{}\",:\\ 1ntrue".to_vec()),
    ];
    prop::collection::vec(byte, 0..80)
}

fn decode<T>(codec: Codec, payload: &[u8], limits: &Limits) -> Result<T, CodecErrorKind>
where
    T: DeserializeOwned,
{
    codec.decode(payload, limits).map_err(|error| error.kind())
}

/// How deep a value is, and how many values and keys it holds.
fn extent(value: &serde_json::Value) -> (usize, usize) {
    let (inner, keys): (Vec<_>, usize) = match value {
        serde_json::Value::Array(values) => (values.iter().map(extent).collect(), 0),
        serde_json::Value::Object(entries) => (entries.values().map(extent).collect(), entries.len()),
        _ => return (0, 1),
    };
    let depth = inner.iter().map(|(depth, _)| *depth).max().unwrap_or(0);
    (depth + 1, inner.iter().map(|(_, items)| items).sum::<usize>() + keys + 1)
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn what_was_encoded_is_decoded_again(tree in tree()) {
        for codec in [Codec::MessagePack, Codec::Json] {
            let payload = codec.encode(&tree).expect("a tree encodes");
            prop_assert_eq!(&decode::<Tree>(codec, &payload, &Limits::default()), &Ok(tree.clone()));
        }
    }

    #[test]
    fn a_value_cut_short_is_truncated(tree in tree(), cut in any::<prop::sample::Index>()) {
        for codec in [Codec::MessagePack, Codec::Json] {
            let payload = codec.encode(&tree).expect("a tree encodes");
            let found = decode::<Tree>(codec, &payload[..cut.index(payload.len())], &Limits::default());
            prop_assert_eq!(found, Err(CodecErrorKind::Truncated));
        }
    }

    #[test]
    fn a_value_with_more_behind_it_is_refused(tree in tree(), more in 1..=255_u8) {
        for codec in [Codec::MessagePack, Codec::Json] {
            let mut payload = codec.encode(&tree).expect("a tree encodes").to_vec();
            payload.push(more);
            let found = decode::<Tree>(codec, &payload, &Limits::default());
            let blank = codec == Codec::Json && more.is_ascii_whitespace() && more != b'\x0c';
            prop_assert_eq!(found.err(), (!blank).then_some(CodecErrorKind::Trailing));
        }
    }

    #[test]
    fn noise_never_panics_and_never_passes_a_limit(noise in noise()) {
        let limits = Limits::default().depth_max(2).items_max(6);
        for codec in [Codec::MessagePack, Codec::Json] {
            if let Ok(value) = codec.decode::<serde_json::Value>(&noise, &limits) {
                let (depth, items) = extent(&value);
                prop_assert!(depth <= 2 && items <= 6, "{}", value);
            }
            let _ = decode::<Tree>(codec, &noise, &limits);
        }
        fingerprint("noise", &noise);
    }

    #[test]
    fn a_changed_byte_changes_the_fingerprint(
        tree in tree(),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        let payload = Codec::MessagePack.encode(&tree).expect("a tree encodes");
        let mut other = payload.to_vec();
        other[at.index(payload.len())] ^= flip;
        // No order of the same entries is one changed byte away.
        prop_assert_ne!(fingerprint("tree", &payload), fingerprint("tree", &other));
    }

    #[test]
    fn the_order_of_a_maps_entries_leaves_the_fingerprint(
        entries in prop::collection::btree_map("[a-z]{0,3}", tree(), 2..6),
        shift in 1..6_usize,
    ) {
        let one: Vec<_> = entries.into_iter().collect();
        let mut other = one.clone();
        other.rotate_left(1 + shift % (one.len() - 1));
        let write = |entries: &[(String, Tree)]| {
            let mut payload = vec![0x80 + u8::try_from(entries.len()).expect("at most 15")];
            for (key, tree) in entries {
                payload.extend(Codec::MessagePack.encode(key).expect("a key encodes"));
                payload.extend(Codec::MessagePack.encode(tree).expect("a tree encodes"));
            }
            fingerprint("map", &payload)
        };
        prop_assert_eq!(write(&one), write(&other));
    }
}
