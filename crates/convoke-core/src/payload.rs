use std::{any::Any, fmt, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use crate::{Codec, CodecError, Invalid, Message};

/// The content of a message or of an answer: encoded, or still the value itself.
///
/// A value stays a value while it does not leave the process.
#[derive(Clone)]
pub enum Payload {
    /// Encoded.
    Bytes {
        /// How.
        codec: Codec,
        /// The encoded value.
        bytes: Bytes,
    },
    /// A message that has not left the process.
    Message(Arc<dyn MessageBody>),
    /// A reply or a refusal that has not left the process.
    Answer(Arc<dyn AnswerBody>),
}

impl Payload {
    /// The encoded form: what it is already, or what `codec` makes of it.
    ///
    /// # Errors
    /// When the value cannot be encoded.
    pub fn encoded(&self, codec: Codec) -> Result<(Codec, Bytes), CodecError> {
        match self {
            Self::Bytes { codec, bytes } => Ok((*codec, bytes.clone())),
            Self::Message(body) => Ok((codec, body.encode(codec)?)),
            Self::Answer(body) => Ok((codec, body.encode(codec)?)),
        }
    }

    /// Nothing, encoded.
    pub fn empty() -> Self {
        Self::Bytes { codec: Codec::default(), bytes: Bytes::new() }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes { codec, bytes } => write!(f, "{codec:?}[{} bytes]", bytes.len()),
            Self::Message(body) => f.write_str(body.name()),
            Self::Answer(_) => f.write_str("answer"),
        }
    }
}

/// A message without its type.
pub trait MessageBody: Any + Send + Sync {
    /// Its wire name.
    fn name(&self) -> &'static str;
    /// The encoded message.
    ///
    /// # Errors
    /// When it cannot be encoded.
    fn encode(&self, codec: Codec) -> Result<Bytes, CodecError>;
    /// Checks its content.
    ///
    /// # Errors
    /// Each violation.
    fn validate(&self) -> Result<(), Invalid>;
    /// What it is ordered by.
    fn key(&self) -> Option<String>;
}

impl<M: Message> MessageBody for M {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn encode(&self, codec: Codec) -> Result<Bytes, CodecError> {
        codec.encode(self)
    }
    fn validate(&self) -> Result<(), Invalid> {
        Message::validate(self)
    }
    fn key(&self) -> Option<String> {
        Message::key(self).map(|key| key.into_owned())
    }
}

/// A reply or a refusal without its type.
pub trait AnswerBody: Any + Send + Sync {
    /// The encoded value.
    ///
    /// # Errors
    /// When it cannot be encoded.
    fn encode(&self, codec: Codec) -> Result<Bytes, CodecError>;
}

impl<T: Serialize + Send + Sync + 'static> AnswerBody for T {
    fn encode(&self, codec: Codec) -> Result<Bytes, CodecError> {
        codec.encode(self)
    }
}

/// The message inside, without a copy when nobody else holds it.
pub(crate) fn take<M: Message>(body: Arc<dyn MessageBody>) -> Option<M> {
    let body: Arc<dyn Any + Send + Sync> = body;
    body.downcast::<M>().ok().map(Arc::unwrap_or_clone)
}

/// The reply or refusal inside, when it is a `T` that nobody else holds; else the body as it was.
pub(crate) fn take_answer<T: Send + Sync + 'static>(
    body: Arc<dyn AnswerBody>,
) -> Result<T, Arc<dyn AnswerBody>> {
    if Arc::strong_count(&body) > 1 || !(&*body as &dyn Any).is::<T>() {
        return Err(body);
    }
    let any: Arc<dyn Any + Send + Sync> = body;
    let value = any.downcast::<T>().ok().and_then(Arc::into_inner);
    Ok(value.expect("its type and its only owner were checked above"))
}
