use std::fmt;
use std::sync::Arc;

use redis::Cmd;

/// A Lua script, called by its hash.
///
/// The server forgets scripts when it restarts or fails over. The source is sent again when it asks for it.
#[derive(Clone)]
pub struct Script {
    source: Arc<str>,
    hash: Arc<str>,
}

impl Script {
    /// A script from its source.
    #[must_use]
    pub fn new(source: &str) -> Self {
        let hash = redis::Script::new(source).get_hash().into();
        Self { source: source.into(), hash }
    }

    /// The call by hash.
    pub(crate) fn by_hash(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        Self::call("EVALSHA", &self.hash, keys, args)
    }

    /// The call that also teaches the server the script: one round trip, to the node that owns the keys.
    pub(crate) fn by_source(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        Self::call("EVAL", &self.source, keys, args)
    }

    fn call(command: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> Cmd {
        let mut cmd = redis::cmd(command);
        cmd.arg(script).arg(keys.len()).arg(keys);
        for arg in args {
            cmd.arg(*arg);
        }
        cmd
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Script").field(&self.hash).finish()
    }
}
