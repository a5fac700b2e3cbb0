//! A distributed order system: commands handled by one node, events received by all, queries answered by any.
//!
//! `orders` runs three nodes in one process; `orders node` runs one of many, on NATS and, if given, Redis.

mod app;
pub mod cli;
pub mod cluster;
pub mod demo;
mod effects;
mod feed;
pub mod http;
pub mod logging;
mod messages;
mod money;
pub mod nightly;
pub mod node;
mod order;
mod receiver;
pub mod repository;
pub mod running;
mod service;
pub mod settings;
pub mod shipping;
mod validation;

pub use app::app;
pub use effects::{Effect, EffectError, Effects};
pub use feed::{EventFeed, FeedView, Received};
pub use messages::{
    GetOrder, ListOrders, OrderError, OrderPage, OrderPlaced, OrderPlacedReply, OrderShipped,
    OrderShippedReply, PlaceOrder, ShipOrder,
};
pub use money::{Money, NotMoney};
pub use order::{Item, Order, OrderId, Status};
pub use receiver::Receiver;
pub use repository::Repository;
pub use service::Orders;
