//! What lies outside of a node, as one life of it reaches it: the place where a test lets it die.
//!
//! A node's promises are about what happens when it dies between two calls to the outside. Here its transport and
//! its stores, and whatever else a test passes through [`Life::call`] or [`step`], count those calls: a [`Life`] ends
//! before or after one of them, the next one begins with the same bus and stores, and a [`Ledger`] has what took
//! effect over all lives. [`each_crash_point`] goes through all places there are.
//!
//! [`TestApp`](crate::TestApp) and `assert_idempotent` do this for an app; by hand:
//!
//! ```
//! # use std::sync::Arc;
//! # use convoke_core::{App, InProcess, stores_in_process};
//! use convoke_testing::outside::{CrashPoint, Ledger, Life};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
//! let (place, stores, ledger) = (InProcess::new(), stores_in_process(), Arc::new(Ledger::default()));
//! place.bus().encode_always();
//! for death in [Some(CrashPoint::before(1)), None] {
//!     let life = Arc::new(Life::new(ledger.clone()).until(death));
//!     let app = App::new("orders").transport(life.transport(place.another_node())).stores(life.stores(&stores));
//!     tokio::select! {
//!         biased;
//!         () = life.ended() => {} // the app is dropped, and its node with it
//!         node = app.start() => { node.unwrap().stop().await; }
//!     }
//!     println!("{:?} {}", life.calls(), life.has_ended());
//! }
//! # }
//! ```

mod ledger;
mod life;
mod point;
mod step;
mod stores;
mod transport;
mod turns;

pub use ledger::{Effect, Ledger, Record, Stored};
pub use life::Life;
pub use point::{CALLS_MAX, CrashPoint, Side, each_crash_point};
pub use step::{Watched, step};
pub use stores::OutsideStores;
pub use transport::OutsideTransport;
pub use turns::Turns;
