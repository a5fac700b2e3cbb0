//! The transport over real servers.

mod checking;
mod jwt;
mod support;

mod client;
mod events;
mod given_up;
mod jobs;
mod lanes;
mod leaving;
mod links;
mod overload;
mod requests;
mod starting;
