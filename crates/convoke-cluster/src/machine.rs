use std::io::{self, Read, Write};

use bytes::Bytes;

/// What every member of a cluster keeps a copy of.
///
/// All members apply the same commands in the same order, so `apply` may depend on nothing but the state, the
/// command and [`At`]: no clock, no random numbers, no order of a `HashMap`, no disk.
///
/// The key-value store [`kv`](crate::kv) is one; an application replaces it with its own.
pub trait StateMachine: Send + Sync + 'static {
    /// A picture of the state that later commands do not change.
    type Image: Image;

    /// Applies one command and says what its caller is told. What cannot be read is an answer too: there is no way
    /// to refuse what was committed.
    fn apply(&mut self, at: At, command: &[u8]) -> Bytes;

    /// Time passes without a command. The place for what ends by itself: bounded work, and what is left over waits
    /// for the next call.
    fn tick(&mut self, _at: At) {}

    /// When [`tick`](Self::tick) has something to do, in the milliseconds of [`At::steady_ms`]. The leader lets it
    /// come then.
    fn next_expiry_ms(&self) -> Option<u64> {
        None
    }

    /// A picture of the state as it is now. Called between two commands, so it must be cheap: share, do not copy.
    fn image(&self) -> Self::Image;

    /// A state to restore an image into while this one is still read. What belongs to the node and not to the cluster
    /// goes with it, as to whoever watches. Cheap, and what it holds is replaced by the image.
    ///
    /// `None`, the default: this one is restored in place, and whoever reads it waits for as long as that takes.
    fn aside(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }

    /// Becomes the state that [`Image::write`] wrote.
    ///
    /// # Errors
    /// What cannot be read. The node then stops: its state is unknown.
    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()>;
}

/// A picture of a state, written to disk away from the path of commands.
pub trait Image: Send + 'static {
    /// Writes it whole.
    ///
    /// # Errors
    /// What the writer says.
    fn write(&self, to: &mut dyn Write) -> io::Result<()>;
}

/// Where in the log a command stands, the same on every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Its place. Grows with every command.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// The leader's wall clock when it wrote it, in milliseconds since 1970. Never goes back from one command to
    /// the next, whatever the leaders' clocks do. A date; for lifetimes there is [`steady_ms`](Self::steady_ms).
    pub time_ms: u64,
    /// Milliseconds that have passed, as far as the log knows: the same on every member, and never more than have
    /// really passed. Leaders whose clocks differ do not make it jump; where one follows another it stands still for
    /// as long as nothing is written. No date.
    pub steady_ms: u64,
}
