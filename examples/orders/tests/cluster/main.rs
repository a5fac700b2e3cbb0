//! Real `orders` processes on real servers.
mod accepted;
mod away;
mod effects;
mod once;
mod process;
mod refused;
mod roles;
mod rolling;
mod stop;
mod tls;
