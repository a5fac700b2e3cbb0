use std::sync::Arc;

use crate::{Envelope, Incoming};

/// The envelope that a message came with. Not in the context itself: most of a context's size would be its, and a call
/// within the process has none.
pub(crate) enum Carried {
    Nothing,
    Alone(Box<Envelope>),
    /// With the message, which others read too.
    Shared(Arc<Incoming>),
}

impl Carried {
    pub(super) fn envelope(&self) -> Option<&Envelope> {
        match self {
            Self::Nothing => None,
            Self::Alone(envelope) => Some(envelope),
            Self::Shared(incoming) => Some(&incoming.envelope),
        }
    }
}

impl From<Envelope> for Carried {
    fn from(envelope: Envelope) -> Self {
        Self::Alone(Box::new(envelope))
    }
}

impl From<Option<Box<Envelope>>> for Carried {
    fn from(envelope: Option<Box<Envelope>>) -> Self {
        envelope.map_or(Self::Nothing, Self::Alone)
    }
}

impl From<Arc<Incoming>> for Carried {
    fn from(incoming: Arc<Incoming>) -> Self {
        Self::Shared(incoming)
    }
}
