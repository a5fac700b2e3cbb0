//! The program, against real servers.

mod dead;
mod describe;
mod doctor;
mod support;
mod usage;
