//! Which key holds what.

use convoke_core::ClaimKey;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

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

impl Keys {
    pub(crate) fn new(prefix: &str, partitions: u16) -> Self {
        Self { prefix: prefix.into(), partitions }
    }

    pub(crate) fn claim(&self, key: &ClaimKey) -> ClaimKeys {
        let ClaimKey { scope, key } = key;
        let mut hash = Xxh3::new();
        hash.update(scope.as_bytes());
        // Neither a scope nor a key holds this byte.
        hash.update(&[0]);
        hash.update(key.as_bytes());
        let tag = self.tag(hash.digest());
        // The length tells where the scope ends: both parts may hold colons.
        let record = format!("{tag}:claim:{}:{scope}:{key}", scope.len());
        let wake_up = xxh3_64(record.as_bytes());
        ClaimKeys { record, fence: format!("{tag}:fence"), wake_up }
    }

    pub(crate) fn mark(&self, scope: &str) -> String {
        format!("{}:mark:{scope}", self.tag(xxh3_64(scope.as_bytes())))
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

    fn tag(&self, hash: u64) -> String {
        format!("{}:{{p{:02}}}", self.prefix, hash % u64::from(self.partitions))
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
    }
}
