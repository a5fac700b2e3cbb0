//! The server against clients that behave badly, over real sockets on loopback.

#[path = "serve/client.rs"]
mod client;
#[path = "serve/drain.rs"]
mod drain;
#[path = "serve/limits.rs"]
mod limits;
#[path = "serve/protocol.rs"]
mod protocol;
#[path = "serve/server.rs"]
mod server;
#[path = "serve/tls.rs"]
mod tls;
