//! Three real processes of the program, and callers of them.
mod api;
mod balancers;
mod failing;
mod latency;
mod nodes;
mod script;
mod stopping;
