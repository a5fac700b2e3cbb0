/// A store that remembers the newest fence it has seen under each lock's name, and refuses what comes with an older
/// one.
///
/// The comparison and the write are one step of the store: a condition of an `UPDATE`, a script, one command. Compared
/// before the write, a fence protects nothing.
///
/// [`Kv`](crate::kv::Kv) is one.
#[diagnostic::on_unimplemented(message = "`{Self}` does not compare fences: implement `FencedStore` for it")]
pub trait FencedStore: Sync {
    /// What is to be written.
    type Write: Send;
    /// What the store tells about it.
    type Written;
    /// Why it was not written. Includes that the lock is no longer held.
    type Error: From<crate::Error>;

    /// Writes, unless a newer fence was seen under this lock's name.
    ///
    /// # Errors
    /// What the store says; and its way to say that a newer fence was seen.
    fn write_fenced(
        &self,
        lock: &str,
        fence: u64,
        write: Self::Write,
    ) -> impl Future<Output = Result<Self::Written, Self::Error>> + Send;
}
