//! The stores on a real NATS server.
#![cfg(unix)]

mod buckets;
mod faults;
mod promises;
mod racing;
mod support;
