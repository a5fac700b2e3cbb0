use std::fmt;

/// The calls of one life that [`each_crash_point`] goes through at most.
pub const CALLS_MAX: usize = 10_000;

/// The end of a life: at so many calls to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrashPoint {
    /// The last call, counted from 1.
    pub call: usize,
    /// On which side of its effect the node dies.
    pub side: Side,
}

/// On which side of its effect the last call of a life breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// It never reaches the outside.
    Before,
    /// It is done outside, and its answer never arrives.
    After,
}

impl CrashPoint {
    /// Before the `call`th call took effect, counted from 1.
    #[must_use]
    pub fn before(call: usize) -> Self {
        Self { call, side: Side::Before }
    }

    /// After the `call`th call took effect, before its answer arrived.
    #[must_use]
    pub fn after(call: usize) -> Self {
        Self { call, side: Side::After }
    }
}

impl fmt::Display for CrashPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Before => "before",
            Side::After => "after",
        };
        write!(f, "{side} call {}", self.call)
    }
}

/// Runs something once for each place where a node can die: before and after each of its calls. `run` tells whether
/// the node died; the first life that goes on to its end is the last one of its side.
///
/// # Panics
/// When a life makes more than [`CALLS_MAX`] calls.
pub fn each_crash_point(mut run: impl FnMut(CrashPoint) -> bool) {
    for side in [Side::Before, Side::After] {
        let end = (1..=CALLS_MAX).find(|&call| !run(CrashPoint { call, side }));
        assert!(end.is_some(), "a life makes more than {CALLS_MAX} calls");
    }
}
