//! Which key holds what.

use convoke_core::ClaimKey;
use uuid::Uuid;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::slot::Slot;

/// Where the stores keep things. All keys of one record carry one hash tag, so they share a slot of a cluster.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    prefix: String,
    partitions: u16,
}

/// The keys of one claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClaimKeys {
    /// The record.
    pub record: String,
    /// The counter its fences come from.
    pub fence: String,
    /// What is said on the wake-up channel when it changes.
    pub wake_up: u64,
}

/// The keys of one slot of an outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutboxKeys {
    /// What waits, oldest first.
    pub rows: String,
    /// Who relays it.
    pub lease: String,
    /// What was put aside.
    pub parked: String,
}

impl Keys {
    pub(crate) fn new(prefix: &str, partitions: u16) -> Self {
        Self { prefix: prefix.into(), partitions }
    }

    pub(crate) fn claim(&self, key: &ClaimKey) -> ClaimKeys {
        let tag = self.tag(self.slot_of_claim(key));
        let ClaimKey { scope, key } = key;
        // The length tells where the scope ends: both parts may hold colons.
        let record = format!("{tag}:claim:{}:{scope}:{key}", scope.len());
        let wake_up = xxh3_64(record.as_bytes());
        ClaimKeys { record, fence: format!("{tag}:fence"), wake_up }
    }

    pub(crate) fn mark(&self, scope: &str) -> String {
        format!("{}:mark:{scope}", self.tag(self.slot_of(scope)))
    }

    /// The keys of one slot of a service's outbox.
    pub(crate) fn outbox(&self, scope: &str, slot: Slot) -> OutboxKeys {
        let tag = self.tag(slot);
        OutboxKeys {
            rows: format!("{tag}:outbox:{scope}"),
            lease: format!("{tag}:outbox-relay:{scope}"),
            parked: format!("{tag}:outbox-parked:{scope}"),
        }
    }

    /// Remembers a commit that has no record of its own.
    pub(crate) fn call(&self, call: Uuid, slot: Slot) -> String {
        format!("{}:call:{call}", self.tag(slot))
    }

    pub(crate) fn slots(&self) -> u16 {
        self.partitions
    }

    pub(crate) fn slot_of_claim(&self, key: &ClaimKey) -> Slot {
        let mut hash = Xxh3::new();
        hash.update(key.scope.as_bytes());
        // Neither a scope nor a key holds this byte.
        hash.update(&[0]);
        hash.update(key.key.as_bytes());
        self.slot(hash.digest())
    }

    /// The slot of equal texts.
    pub(crate) fn slot_of(&self, text: &str) -> Slot {
        self.slot(xxh3_64(text.as_bytes()))
    }

    fn slot(&self, hash: u64) -> Slot {
        let slot = hash % u64::from(self.partitions);
        Slot::new(u16::try_from(slot).expect("less than the number of partitions"))
    }

    /// Says which layout the keys under this prefix have.
    pub(crate) fn layout(&self) -> String {
        format!("{}:layout", self.prefix)
    }

    /// What stands there.
    pub(crate) fn layout_value(&self) -> String {
        format!("1 partitions={}", self.partitions)
    }

    /// The wake-up channel.
    pub(crate) fn channel(&self) -> String {
        format!("{}:changed", self.prefix)
    }

    fn tag(&self, slot: Slot) -> String {
        format!("{}:{}", self.prefix, slot.tag())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn claim(scope: &str, key: &str) -> ClaimKeys {
        Keys::new("convoke", 64).claim(&ClaimKey { scope: scope.into(), key: key.into() })
    }

    #[test]
    fn all_keys_of_a_record_carry_one_tag_whatever_the_key_holds() {
        for key in ["a", "{b}", "}{", "{}"] {
            let keys = claim("s", key);
            let tag = |name: &str| name[name.find('{').unwrap()..=name.find('}').unwrap()].to_owned();
            assert_eq!(tag(&keys.record), tag(&keys.fence), "{keys:?}");
            assert_eq!(tag(&keys.record).len(), "{p00}".len(), "{keys:?}");
        }
    }

    #[test]
    fn a_colon_does_not_move_from_the_scope_to_the_key() {
        assert_ne!(claim("a:b", "c").record, claim("a", "b:c").record);
        assert_ne!(claim("1:a", "b").record, claim("1", "a:b").record);
    }

    #[test]
    fn a_thousand_keys_use_every_partition() {
        let fences: HashSet<_> = (0..1000).map(|at| claim("s", &at.to_string()).fence).collect();
        assert_eq!(fences.len(), 64);
    }

    #[test]
    fn the_names_of_keys_stay_as_they_are() {
        // What is stored today must be found by every later version.
        let keys = claim("convoke:orders.place.v1", "k-1");
        assert_eq!(keys.record, "convoke:{p01}:claim:23:convoke:orders.place.v1:k-1");
        assert_eq!(keys.fence, "convoke:{p01}:fence");
        assert_eq!(Keys::new("convoke", 64).mark("n1"), "convoke:{p20}:mark:n1");
        let outbox = Keys::new("convoke", 64).outbox("convoke:orders", Slot::new(7));
        assert_eq!(outbox.rows, "convoke:{p07}:outbox:convoke:orders");
        assert_eq!(outbox.lease, "convoke:{p07}:outbox-relay:convoke:orders");
        assert_eq!(outbox.parked, "convoke:{p07}:outbox-parked:convoke:orders");
    }
}
