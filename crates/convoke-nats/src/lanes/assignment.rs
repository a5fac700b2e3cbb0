use serde::{Deserialize, Serialize};

/// Parts that the lanes of a group are divided into: as many nodes share the keyed events of a group at most.
pub(crate) const SPANS: usize = 16;

/// Whose each span of a group's lanes is. One record, changed by whoever sees a reason, never over an unread one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Assignment {
    /// The wire names that the spans' consumers ask for.
    pub(super) names: Vec<String>,
    pub(super) spans: Vec<Span>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    /// Who reads it; nobody when its owner left and no other node was there.
    pub(super) owner: Option<String>,
    /// Grows with each reader; the consumer is named after it.
    pub(super) epoch: u64,
    /// Who gets it when its owner has settled what it has in hand.
    pub(super) next: Option<String>,
}

impl Assignment {
    /// Nobody's. Epochs begin with a number that no earlier record reached: the time.
    pub(super) fn new(names: Vec<String>, first_epoch: u64) -> Self {
        Self { names, spans: vec![Span { epoch: first_epoch, ..Span::default() }; SPANS] }
    }

    /// Whether it is one of this version.
    pub(super) fn is_whole(&self) -> bool {
        self.spans.len() == SPANS
    }
}

impl Span {
    /// From now on this one reads it, from a consumer of its own.
    pub(super) fn give(&mut self, owner: Option<String>) {
        *self = Self { owner, epoch: self.epoch + 1, next: None };
    }

    /// Who will have it when everything that is planned has happened.
    pub(super) fn holder(&self) -> Option<&str> {
        self.next.as_deref().or(self.owner.as_deref())
    }

    /// The owner ended its reading: it hands over, or begins anew.
    pub(super) fn ended(&mut self, owner_goes: bool) {
        let owner = if self.next.is_some() || owner_goes { self.next.take() } else { self.owner.take() };
        self.give(owner);
    }
}
