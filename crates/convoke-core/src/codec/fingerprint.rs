//! A payload's identity, for telling a repeat from another request under the same key.

use xxhash_rust::xxh3::{xxh3_64, xxh3_128, xxh3_128_with_seed};

use super::msgpack::{Children, head};

/// Hashes the content of a MessagePack payload under a message's wire name.
///
/// The order of a map's entries does not matter, so a `HashMap` that is encoded twice has one fingerprint. All else
/// does, the order of an array included: keep a `HashSet` out of messages whose payloads are compared. A payload
/// that is not one complete MessagePack value is hashed byte by byte.
///
/// One pass without recursion, which takes at most a few times the payload's size. The hash finds mistakes; it does
/// not resist somebody who searches for two payloads with one fingerprint.
pub fn fingerprint(name: &str, msgpack: &[u8]) -> u128 {
    // Both names and payloads vary in length, so the name is a seed rather than a prefix.
    let seed = xxh3_64(name.as_bytes());
    match Canonical::of(msgpack) {
        Some(canonical) => xxh3_128_with_seed(&canonical, seed),
        // Its own seed: bytes that only look like what was written above are another payload.
        None => xxh3_128_with_seed(msgpack, !seed),
    }
}

/// Writes a payload anew, with the entries of each map replaced by the sum of their hashes.
///
/// What is written can still be read in one way only: the map's head says that a sum follows.
struct Canonical<'a> {
    payload: &'a [u8],
    /// Everything before this place is in `written`, or in a sum.
    written_to: usize,
    written: Vec<u8>,
}

/// An array or map whose end was not yet reached.
struct Open {
    /// Values to come; a map has two for each entry.
    left: usize,
    /// For a map of two entries or more. Fewer have but one order.
    entries: Option<Entries>,
}

/// What a map's entries have in common with each of their orders.
struct Entries {
    sum: u128,
    /// Where the current entry begins in `written`.
    start: usize,
}

impl<'a> Canonical<'a> {
    /// Nothing when the payload is not one complete value, or is canonical as it stands.
    fn of(payload: &'a [u8]) -> Option<Vec<u8>> {
        let mut canonical = Canonical { payload, written_to: 0, written: Vec::new() };
        let mut open: Vec<Open> = Vec::new();
        let mut at = 0;
        loop {
            let head = head(payload, at).ok()?;
            at = head.next;
            let (left, ordered) = match head.children {
                Children::None => (0, true),
                Children::Array(len) => (len, true),
                Children::Map(entries) => (entries * 2, entries < 2),
            };
            if left > 0 {
                let entries = (!ordered).then(|| canonical.begin_entries(at));
                open.push(Open { left, entries });
                continue;
            }
            canonical.close(&mut open, at);
            if open.is_empty() {
                break;
            }
        }
        if at != payload.len() || canonical.written.is_empty() {
            return None;
        }
        canonical.write_to(at);
        Some(canonical.written)
    }

    /// Ends the value before `at`, and each container whose last value this was.
    fn close(&mut self, open: &mut Vec<Open>, at: usize) {
        while let Some(container) = open.last_mut() {
            container.left -= 1;
            if let Some(entries) = &mut container.entries
                && container.left.is_multiple_of(2)
            {
                let hash = self.take_entry(entries.start, at);
                // A sum and not an exclusive or, in which equal entries would cancel out.
                entries.sum = entries.sum.wrapping_add(hash);
            }
            if container.left > 0 {
                return;
            }
            if let Some(entries) = &container.entries {
                self.written.extend_from_slice(&entries.sum.to_le_bytes());
            }
            open.pop();
        }
    }

    fn begin_entries(&mut self, at: usize) -> Entries {
        self.write_to(at);
        Entries { sum: 0, start: self.written.len() }
    }

    /// Hashes the entry that ends before `at`, and takes back what was written of it.
    fn take_entry(&mut self, start: usize, at: usize) -> u128 {
        if self.written.len() == start {
            // No map inside: the payload's own bytes will do, without copying them.
            let hash = xxh3_128(&self.payload[self.written_to..at]);
            self.written_to = at;
            return hash;
        }
        self.write_to(at);
        let hash = xxh3_128(&self.written[start..]);
        self.written.truncate(start);
        hash
    }

    fn write_to(&mut self, at: usize) {
        self.written.extend_from_slice(&self.payload[self.written_to..at]);
        self.written_to = at;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Canonical, fingerprint};

    /// MessagePack with the entries of each object written forwards, or backwards.
    fn write(value: &Value, backwards: bool, out: &mut Vec<u8>) {
        match value {
            Value::Array(values) => {
                out.push(0x90 + u8::try_from(values.len()).expect("tests are small"));
                values.iter().for_each(|value| write(value, backwards, out));
            }
            Value::Object(entries) => {
                out.push(0x80 + u8::try_from(entries.len()).expect("tests are small"));
                let mut entries: Vec<_> = entries.iter().collect();
                if backwards {
                    entries.reverse();
                }
                for (key, value) in entries {
                    write(&json!(key), backwards, out);
                    write(value, backwards, out);
                }
            }
            leaf => out.extend(rmp_serde::to_vec(leaf).expect("a leaf can be written")),
        }
    }

    fn both_ways(value: &Value) -> [Vec<u8>; 2] {
        [false, true].map(|backwards| {
            let mut out = Vec::new();
            write(value, backwards, &mut out);
            out
        })
    }

    #[track_caller]
    fn check(one: &Value, other: &Value, equal: bool) {
        for one in both_ways(one) {
            for other in both_ways(other) {
                let found = fingerprint("a", &one) == fingerprint("a", &other);
                assert_eq!(found, equal, "{one:x?} and {other:x?}");
            }
        }
    }

    #[test]
    fn the_order_of_entries_does_not_matter_at_any_level() {
        for value in [
            json!({"a": 1, "b": 2, "c": 3}),
            json!([1, {"a": {"x": 1, "y": [{}, {"p": 0, "q": 0}]}, "b": {"one": {"k": 1, "l": 2}}}, "tail"]),
            json!({"one": {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 2}}}),
        ] {
            let [forwards, backwards] = both_ways(&value);
            assert_ne!(forwards, backwards, "the test would prove nothing");
            check(&value, &value, true);
        }
    }

    #[test]
    fn everything_else_matters() {
        let values = [
            json!({"a": 1, "b": 2}),
            json!({"a": 2, "b": 1}),
            json!({"a": 1, "b": 2, "c": 3}),
            json!({"a": 1}),
            json!({}),
            json!([]),
            json!(["a", 1, "b", 2]),
            json!([{"a": 1, "b": 2}]),
            json!([{"a": 1, "b": 2}, {"a": 2, "b": 1}]),
            json!([{"a": 2, "b": 1}, {"a": 1, "b": 2}]),
            json!({"x": {"a": 1, "b": 2}, "y": {"a": 2, "b": 1}}),
            json!({"x": {"a": 2, "b": 1}, "y": {"a": 1, "b": 2}}),
            json!({"x": {"a": 1, "b": 2}, "y": {"a": 1, "b": 2}}),
            json!({"x": {"a": 2, "b": 1}, "y": {"a": 2, "b": 1}}),
            json!([1, 2]),
            json!([2, 1]),
            json!("1"),
            json!(1),
            json!(-1),
            json!(1.0),
        ];
        for (i, one) in values.iter().enumerate() {
            for (j, other) in values.iter().enumerate() {
                check(one, other, i == j);
            }
        }
    }

    #[test]
    fn an_entry_written_twice_does_not_cancel_out() {
        assert_ne!(fingerprint("a", &[0x82, 1, 1, 1, 1]), fingerprint("a", &[0x82, 2, 2, 2, 2]));
    }

    #[test]
    fn equal_payloads_of_two_messages_differ() {
        for payload in both_ways(&json!({"a": 1, "b": 2})).iter().chain([&vec![0xc1], &vec![]]) {
            assert_ne!(fingerprint("a", payload), fingerprint("b", payload));
        }
    }

    #[test]
    fn what_is_malformed_is_hashed_byte_by_byte() {
        let cut = [&[0x82, 1, 2][..], &[0x82, 2, 1], &[0x82, 1, 2, 3], &[0x80, 0x80], &[0xc1], &[]];
        for (i, one) in cut.iter().enumerate() {
            for (j, other) in cut.iter().enumerate() {
                assert_eq!(
                    fingerprint("a", one) == fingerprint("a", other),
                    i == j,
                    "{one:x?} and {other:x?}"
                );
            }
        }
    }

    #[test]
    fn bytes_that_look_like_the_canonical_form_are_another_payload() {
        let [payload, _] = both_ways(&json!({"a": 1, "b": 2}));
        let canonical = Canonical::of(&payload).expect("a map has a canonical form");
        assert_ne!(fingerprint("a", &payload), fingerprint("a", &canonical));
    }

    #[test]
    fn a_million_levels_cost_no_stack() {
        let deep = [vec![0x91; 1_000_000], vec![0xc0]].concat();
        assert_ne!(fingerprint("a", &deep), fingerprint("a", &deep[1..]));
    }
}
