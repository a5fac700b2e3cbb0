//! A replicated key-value store: bytes to bytes, with versions, lifetimes, compare-and-swap, scans and watches.
//!
//! Every write goes through the log and is applied once, also when it is repeated after a change of leaders. A read
//! is of the node's own copy, after as much waiting as its [`Consistency`](crate::Consistency) asks for.

mod client;
mod fenced;
mod get;
mod limits;
pub(crate) mod machine;
mod put;
mod refused;
mod scan;
mod swap;
mod value;
mod watch;
mod write;

pub use client::{Kv, TIMEOUT};
pub use get::Get;
pub use limits::{
    BYTES_MAX, CHANGE_BYTES_MAX, CHANGES_MAX, FENCES_MAX, KEY_BYTES_MAX, PAGE_BYTES_MAX, PAGE_MAX,
    SCOPE_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use machine::{Change, Machine, Picture};
pub use put::{Delete, Put};
pub use scan::Scan;
pub use swap::{CompareAndSwap, Swap};
pub use value::{Page, Value};
pub use watch::{Lagged, StartWatch, Watch};
pub use write::{Expected, Write};

#[cfg(test)]
mod tests;
