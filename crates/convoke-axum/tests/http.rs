//! Messages as routes, errors as problem+json, health and guards, without a socket.

#[path = "http/app.rs"]
mod app;
#[path = "http/client.rs"]
mod client;
#[path = "http/content.rs"]
mod content;
#[path = "http/errors.rs"]
mod errors;
#[path = "http/guards.rs"]
mod guards;
#[path = "http/health.rs"]
mod health;
#[path = "http/idempotency.rs"]
mod idempotency;
#[path = "http/routes.rs"]
mod routes;
#[path = "http/scripted.rs"]
mod scripted;
#[path = "http/trace.rs"]
mod trace;
