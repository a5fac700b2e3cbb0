//! What a backend must promise, as tests every backend runs.
//!
//! A backend writes one fixture and one line, and gets one test per promise, named after it.

pub mod outbox;
pub mod stores;
pub mod transport;

/// One `#[tokio::test]` per promise of an outbox; its argument is the path of an
/// `async fn(test: &str) -> Option<stores::Fixture>` whose stores have one. The crate that uses it depends on tokio.
pub use crate::__conformance_outbox as outbox;

/// One `#[tokio::test]` per promise of the stores; its argument is the path of an
/// `async fn(test: &str) -> Option<Fixture>`. The crate that uses it depends on tokio.
pub use crate::__conformance_stores as stores;

/// One `#[tokio::test]` per promise of a transport; its argument is the path of an
/// `async fn(test: &str) -> Option<impl Fixture>`. The crate that uses it depends on tokio.
pub use crate::__conformance_transport as transport;
