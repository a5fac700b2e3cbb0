//! Faults of our own that the checks must find: a simulation that finds none of them proves nothing.

use std::cell::Cell;

/// What is wrong on purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Planted {
    /// Nothing.
    #[default]
    Nothing,
    /// What is written counts as kept before it is synced.
    AckBeforeSync,
    /// A leader serves reads by its lease without a look at whether the lease is over.
    LeaseUnchecked,
    /// A proposal that comes twice is applied twice.
    NoDedup,
    /// Snapshots hold the members that the cluster was founded with: a vote of one that was removed counts again.
    MembersForgotten,
}

thread_local! {
    static PLANTED: Cell<Planted> = const { Cell::new(Planted::Nothing) };
}

impl Planted {
    /// From now on, on this thread.
    pub(super) fn plant(self) {
        PLANTED.set(self);
    }

    pub(crate) fn is_planted(self) -> bool {
        PLANTED.get() == self
    }
}
