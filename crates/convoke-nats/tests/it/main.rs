//! The transport over real servers.

mod jwt;
mod support;

mod events;
mod jobs;
mod lanes;
mod leaving;
mod links;
mod requests;
mod starting;
