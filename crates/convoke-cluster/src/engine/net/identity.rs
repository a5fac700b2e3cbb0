use std::sync::{Arc, OnceLock};

use ring::hmac;

use crate::{NodeId, Secret};

/// Who this node is to other members.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) cluster: Arc<str>,
    id: Arc<OnceLock<NodeId>>,
    key: Option<hmac::Key>,
}

impl Identity {
    /// A node of this cluster that does not know its number yet.
    pub(crate) fn new(cluster: &str, secret: Option<&Secret>) -> Self {
        let key = secret.map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret.bytes()));
        Self { cluster: cluster.into(), id: Arc::default(), key }
    }

    /// The node's number. Known from now on, and for good.
    pub(crate) fn set_id(&self, id: NodeId) {
        if self.id.set(id).is_err() && self.id() != Some(id) {
            tracing::error!(now = ?self.id(), wanted = id, "a node's number was given twice, the first one stays");
        }
    }

    pub(crate) fn id(&self) -> Option<NodeId> {
        self.id.get().copied()
    }

    /// What the secret makes of these words, when there is a secret.
    pub(super) fn sign(&self, words: &[u8]) -> Option<[u8; 32]> {
        let tag = hmac::sign(self.key.as_ref()?, words);
        Some(tag.as_ref().try_into().expect("SHA-256 makes 32 bytes"))
    }

    /// Whether the other side has the same secret, or none as we have none. Takes as long for every wrong one.
    pub(super) fn verifies(&self, words: &[u8], signature: Option<&[u8; 32]>) -> bool {
        match (&self.key, signature) {
            (None, None) => true,
            (Some(key), Some(signature)) => hmac::verify(key, words, signature).is_ok(),
            _ => false,
        }
    }
}
