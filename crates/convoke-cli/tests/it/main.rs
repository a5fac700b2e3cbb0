//! The program, against real servers.

mod describe;
mod doctor;
mod support;
mod usage;
