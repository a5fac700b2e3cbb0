//! Reading what our own scripts answer.

use convoke_core::StoreError;
use redis::{FromRedisValue, Value};

/// The parts of an answer, in order.
#[derive(Debug)]
pub(crate) struct Reply(std::vec::IntoIter<Value>);

impl Reply {
    pub(crate) fn new(value: Value) -> Self {
        match value {
            Value::Array(parts) => Self(parts.into_iter()),
            single => Self(vec![single].into_iter()),
        }
    }

    /// How many parts are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next part. What does not fit was not written by us.
    pub(crate) fn next<T: FromRedisValue>(&mut self) -> Result<T, StoreError> {
        let part = self.0.next().ok_or_else(|| unexpected("it ended early"))?;
        T::from_redis_value(part).map_err(|error| unexpected(error.to_string()))
    }
}

pub(crate) fn unexpected(what: impl Into<String>) -> StoreError {
    StoreError::refused(format!("an answer of Redis is none of ours: {}", what.into()))
}
