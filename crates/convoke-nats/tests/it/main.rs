//! The transport over real servers.

mod support;

mod events;
mod requests;
