//! The core of Convoke.
mod codec;
mod envelope;
mod error;
mod message;
mod outcome;
mod payload;
mod store;
mod transport;

pub use codec::*;
pub use envelope::*;
pub use error::*;
pub use message::*;
pub use outcome::*;
pub use payload::{AnswerBody, MessageBody, Payload};
pub use store::*;
pub use transport::*;

/// What a box around any error is called.
pub type BoxError = Box<dyn std::error::Error + std::marker::Send + Sync>;
/// A future behind one allocation.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + std::marker::Send + 'a>>;
