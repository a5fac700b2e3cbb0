//! Convoke over HTTP.

mod serve;

pub use serve::{Drained, ServeConfig, ServeError, ServeErrorKind, Serving, TlsConfig, serve};
