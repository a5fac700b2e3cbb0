//! An application's own writes, made in one step with the outcome of its handler.

use std::fmt;
use std::time::Duration;

use convoke_core::StoreError;

use crate::slot::Slot;

/// Conditions and writes of one commit, each.
const PARTS_MAX: usize = 256;
/// Bytes of all keys and values of one commit.
const BYTES_MAX: usize = 4 * 1024 * 1024;

/// Writes of an application that join the commit of its handler, by `cx.commit_with`: they are made in one step with
/// the outcome and with what the handler stages, or not at all.
///
/// Every key carries the tag `cx.commit_tag()` tells. When a condition does not hold, nothing is written and the
/// handler runs again. A write to a key of another type is refused, and nothing is written either.
///
/// ```
/// # fn place(cx: &convoke_core::Context, json: &[u8]) -> Result<(), convoke_core::StoreError> {
/// use convoke_redis::Commit;
///
/// let tag = cx.commit_tag().expect("the stores of this node are on Redis");
/// let order = format!("orders:{tag}:order:{}", cx.id());
/// cx.commit_with(Commit::new().if_absent(&order).hash_set(&order, &[("order", json), ("version", b"1")]))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use = "it is written by `cx.commit_with`"]
pub struct Commit {
    conditions: Vec<Part>,
    writes: Vec<Part>,
}

#[derive(Clone)]
struct Part {
    key: String,
    what: &'static str,
    values: Vec<Vec<u8>>,
}

impl Commit {
    /// Without a condition and a write.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only when there is no such key.
    pub fn if_absent(self, key: &str) -> Self {
        self.when(key, "absent", ["", ""])
    }

    /// Only when there is such a key.
    pub fn if_present(self, key: &str) -> Self {
        self.when(key, "present", ["", ""])
    }

    /// Only when a string has this value.
    pub fn if_value(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.when(key, "value", [value.as_ref(), b""])
    }

    /// Only when a field of a hash has this value.
    pub fn if_field(self, key: &str, field: &str, value: impl AsRef<[u8]>) -> Self {
        self.when(key, "field", [field.as_bytes(), value.as_ref()])
    }

    /// Sets a string.
    pub fn set(self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.then(key, "SET", [value])
    }

    /// Deletes a key, whatever it holds.
    pub fn delete(self, key: &str) -> Self {
        self.then(key, "DEL", [""; 0])
    }

    /// Sets fields of a hash.
    pub fn hash_set(self, key: &str, fields: &[(&str, &[u8])]) -> Self {
        let values = fields.iter().flat_map(|(field, value)| [field.as_bytes(), *value]);
        self.then(key, "HSET", values)
    }

    /// Removes fields of a hash.
    pub fn hash_remove(self, key: &str, fields: &[&str]) -> Self {
        self.then(key, "HDEL", fields)
    }

    /// Adds a member to a sorted set, or moves it.
    pub fn sorted_add(self, key: &str, score: f64, member: impl AsRef<[u8]>) -> Self {
        self.then(key, "ZADD", [score.to_string().as_bytes(), member.as_ref()])
    }

    /// Removes a member of a sorted set.
    pub fn sorted_remove(self, key: &str, member: impl AsRef<[u8]>) -> Self {
        self.then(key, "ZREM", [member])
    }

    /// Adds a member to a set.
    pub fn set_add(self, key: &str, member: impl AsRef<[u8]>) -> Self {
        self.then(key, "SADD", [member])
    }

    /// Removes a member of a set.
    pub fn set_remove(self, key: &str, member: impl AsRef<[u8]>) -> Self {
        self.then(key, "SREM", [member])
    }

    /// Lets a key expire.
    pub fn expire(self, key: &str, after: Duration) -> Self {
        self.then(key, "PEXPIRE", [after.as_millis().max(1).to_string()])
    }

    fn when<V: AsRef<[u8]>>(mut self, key: &str, what: &'static str, values: [V; 2]) -> Self {
        self.conditions.push(Part::new(key, what, values));
        self
    }

    fn then<V: AsRef<[u8]>>(
        mut self,
        key: &str,
        what: &'static str,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        self.writes.push(Part::new(key, what, values));
        self
    }

    /// The slot of its keys, when it is one, of so many, and the whole is within its bounds.
    pub(crate) fn slot(&self, slots: u16) -> Result<Slot, StoreError> {
        let parts = || self.conditions.iter().chain(&self.writes);
        if self.conditions.len().max(self.writes.len()) > PARTS_MAX {
            return Err(StoreError::refused(format!(
                "a commit has at most {PARTS_MAX} conditions and writes each"
            )));
        }
        if parts().map(Part::bytes).sum::<usize>() > BYTES_MAX {
            return Err(StoreError::refused(format!(
                "the writes of a commit have at most {BYTES_MAX} bytes"
            )));
        }
        if let Some(empty) = self.writes.iter().find(|part| part.values.is_empty() && part.what != "DEL") {
            return Err(StoreError::refused(format!("{} of {:?} writes nothing", empty.what, empty.key)));
        }
        let mut slot = None;
        for Part { key, .. } in parts() {
            let found = Slot::of(key).filter(|slot| slot.number() < slots).ok_or_else(|| {
                let why = "carries no tag of the stores: put what `cx.commit_tag()` tells into it";
                StoreError::refused(format!("the key {key:?} {why}"))
            })?;
            if *slot.get_or_insert(found) != found {
                return Err(StoreError::refused(format!(
                    "the key {key:?} carries another tag than the one before"
                )));
            }
        }
        slot.ok_or_else(|| StoreError::refused("these writes name no key"))
    }

    /// Its part of the arguments of a script, whose keys grow by its own.
    pub(crate) fn conditions<'a>(&'a self, keys: &mut Vec<&'a str>, args: &mut Vec<Vec<u8>>) {
        for part in &self.conditions {
            args.push(index(keys, &part.key));
            args.push(part.what.into());
            args.extend(part.values.iter().cloned());
        }
    }

    pub(crate) fn writes<'a>(&'a self, keys: &mut Vec<&'a str>, args: &mut Vec<Vec<u8>>) {
        for part in &self.writes {
            args.push(index(keys, &part.key));
            args.push(part.what.into());
            args.push(part.values.len().to_string().into_bytes());
            args.extend(part.values.iter().cloned());
        }
    }

    /// How many conditions and writes it has.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.conditions.len(), self.writes.len())
    }
}

impl Part {
    fn new<V: AsRef<[u8]>>(key: &str, what: &'static str, values: impl IntoIterator<Item = V>) -> Self {
        let values = values.into_iter().map(|value| value.as_ref().to_vec()).collect();
        Self { key: key.to_owned(), what, values }
    }

    fn bytes(&self) -> usize {
        self.key.len() + self.values.iter().map(Vec::len).sum::<usize>()
    }
}

/// The number of a key among those of a script, counted from 1.
fn index<'a>(keys: &mut Vec<&'a str>, key: &'a str) -> Vec<u8> {
    let at = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
        keys.push(key);
        keys.len() - 1
    });
    (at + 1).to_string().into_bytes()
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Values may be secrets.
        f.debug_set().entries(self.writes.iter().map(|part| (part.what, &part.key))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(commit: Commit, expected: Result<u16, &str>) {
        match (commit.slot(64), expected) {
            (Ok(slot), Ok(number)) => assert_eq!(slot.number(), number),
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (found, _) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn all_keys_carry_one_tag_of_ours() {
        check(Commit::new().if_absent("a:{p07}").set("b:{p07}:c", "x"), Ok(7));
        check(Commit::new().set("a:{p07}", "x").delete("b:{p08}"), Err("another tag"));
        check(Commit::new().set("a", "x"), Err("carries no tag"));
        check(Commit::new().set("a:{p64}", "x"), Err("carries no tag"));
        check(Commit::new(), Err("no key"));
    }

    #[test]
    fn a_commit_is_bounded() {
        let many = (0..=PARTS_MAX).fold(Commit::new(), |commit, _| commit.set_add("a:{p01}", "x"));
        check(many, Err("at most 256"));
        check(Commit::new().set("a:{p01}", vec![0; BYTES_MAX]), Err("bytes"));
        check(Commit::new().hash_set("a:{p01}", &[]), Err("writes nothing"));
    }
}
