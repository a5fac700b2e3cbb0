//! Payloads: never a panic, never beyond the limits, and what was read comes back.
#![no_main]

use std::collections::BTreeMap;

use convoke_core::{Codec, Limits, fingerprint};
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Node(Box<Tree>),
    Many(Vec<Tree>),
    Named(BTreeMap<String, Tree>),
    Number(i64),
    Text(String),
}

fuzz_target!(|payload: &[u8]| {
    let limits = Limits::default();
    for codec in [Codec::MessagePack, Codec::Json] {
        let _ = codec.decode::<serde_json::Value>(payload, &limits);
        if let Ok(tree) = codec.decode::<Tree>(payload, &limits) {
            let again = codec.encode(&tree).expect("what was read can be written");
            assert_eq!(codec.decode::<Tree>(&again, &limits).ok(), Some(tree));
        }
    }
    fingerprint("fuzz", payload);
});
