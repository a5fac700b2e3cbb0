//! The program, against real servers.

mod dead;
mod describe;
mod doctor;
mod outbox;
mod support;
mod usage;
