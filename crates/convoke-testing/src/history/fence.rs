use super::Model;

/// A resource that refuses what comes behind a newer token: what a lock's holder writes to.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fence;

/// A write under a token. Answered with whether it was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FencedWrite(
    /// The token.
    pub u64,
);

impl Model for Fence {
    /// The greatest token that was accepted.
    type State = u64;
    type Call = FencedWrite;
    type Answer = bool;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, newest: &u64, FencedWrite(token): &FencedWrite, accepted: Option<&bool>) -> Option<u64> {
        let is_accepted = token >= newest;
        accepted.is_none_or(|accepted| *accepted == is_accepted).then_some(*token.max(newest))
    }
}
