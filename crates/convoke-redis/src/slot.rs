use std::fmt;

/// One of the slots over which the stores spread what they keep. Keys that carry its tag lie beside a record there,
/// also in a Redis Cluster, and can change with it in one step.
///
/// A slot is a small number, so an id can carry it: then whoever has the id finds the key.
///
/// ```
/// use convoke_redis::Slot;
///
/// let slot = Slot::of("orders:{p07}:order:17").expect("it carries a tag of ours");
/// assert_eq!((slot.number(), slot.tag()), (7, "{p07}".to_owned()));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The slot of a number, below the configuration's `partitions`.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The slot whose tag a key carries; also that of a tag itself, as `cx.commit_tag()` tells it.
    #[must_use]
    pub fn of(key: &str) -> Option<Self> {
        let (_, rest) = key.split_once('{')?;
        let (tag, _) = rest.split_once('}')?;
        let slot = Self(tag.strip_prefix('p')?.parse().ok()?);
        (slot.tag().as_str() == format!("{{{tag}}}")).then_some(slot) // one spelling each
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// What a key carries to lie in it, braces and all.
    #[must_use]
    pub fn tag(self) -> String {
        format!("{{p{:02}}}", self.0)
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_names_its_slot_and_nothing_else_does() {
        for number in [0, 7, 63, 100, 1023] {
            assert_eq!(Slot::of(&Slot::new(number).tag()), Some(Slot::new(number)));
        }
        for key in
            ["", "p07", "{p7}", "{p007}", "{07}", "{p}", "{p-1}", "{x}{p07}", "{}{p07}", "}{p07", "{p99999}"]
        {
            let found = Slot::of(key);
            assert_eq!(found, (key == "}{p07}").then_some(Slot::new(7)), "{key:?}");
        }
    }
}
