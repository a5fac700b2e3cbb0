//! The stores on a real Redis.
#![cfg(unix)]

mod application;
mod cluster;
mod faults;
mod limits;
mod outbox;
mod promises;
mod secured;
mod start;
mod support;
mod waiting;
