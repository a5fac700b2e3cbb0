/// The longest key.
pub const KEY_BYTES_MAX: usize = 4 * 1024;
/// The longest name under which fences are kept.
pub const SCOPE_BYTES_MAX: usize = 256;
/// The longest value: one entry of the log, without the key and what stands around both.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024 - KEY_BYTES_MAX - SCOPE_BYTES_MAX - 1024;
/// All keys and values together, unless [`Machine::with_bytes_max`](crate::kv::Machine::with_bytes_max) says
/// otherwise.
pub const BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
/// Keys in one page of a scan.
pub const PAGE_MAX: usize = 1_000;
/// Bytes in one page of a scan. One entry is always told, however large.
pub const PAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Keys that are looked at for one page: expired ones are passed over, and are not there to be counted.
pub(super) const PAGE_VISITS_MAX: usize = 10_000;
/// Names whose newest fence is known. Beyond it the oldest fence is dropped, and who comes with one older than that
/// under an unknown name is refused.
pub const FENCES_MAX: usize = 65_536;
/// Keys whose time is over that one entry of the log removes. What is left waits for the next.
pub(super) const EXPIRED_PER_ENTRY: usize = 1_024;
/// Changes that are kept for who watches, on each node.
pub const CHANGES_MAX: usize = 4_096;
/// Bytes of the changes that are kept for who watches, on each node.
pub const CHANGE_BYTES_MAX: usize = 16 * 1024 * 1024;
