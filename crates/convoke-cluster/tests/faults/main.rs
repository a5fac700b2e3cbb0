//! Real processes of real nodes that are killed, stopped, cut off and starved of disk, and what their clients see.
#![cfg(target_os = "linux")]

mod board;
mod books;
mod child;
mod clients;
mod disk_full;
mod fleet;
mod frozen;
mod histories;
mod line;
mod node;
mod runs;
mod singletons;
mod wire;
