//! The derives and attributes of Convoke. Use them through the crate `convoke`, which re-exports them.
//!
//! Each entry point parses, expands and turns what is wrong into compile errors: all mistakes of an item at
//! once, each on the token that is wrong.

use proc_macro::TokenStream;

mod attribute;
mod errors;
mod handler;
mod handlers;
mod message;
mod root;
mod service;
mod shape;
mod wire_name;

/// Makes a struct or an enum a command: it changes state, and one node handles it.
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name = "orders.place.v1"` | the wire name: lower-case words between dots, then a version | required |
/// | `reply = OrderId` | what the handler answers | `()` |
/// | `error = PlaceOrderError` | what the handler refuses with | `convoke::Never` |
/// | `idempotent` | one completed run per key, over all nodes | off |
/// | `key = order.id` | messages with equal keys are handled in order; the field's `Display` text | none |
/// | `validate` | checked with `garde::Validate` before anything is claimed or handled | off |
/// | `validate = path` | checked with a `fn(&Self) -> Result<(), convoke::Invalid>` | off |
/// | `crate = "my_bus::convoke"` | where a crate that re-exports `convoke` has it | `::convoke` |
///
/// ```
/// use convoke::Command;
/// use serde::{Deserialize, Serialize};
///
/// /// Places an order.
/// #[derive(Debug, Clone, Serialize, Deserialize, Command)]
/// #[command(name = "orders.place.v1", reply = u64, error = convoke::Rejection, idempotent, key = customer)]
/// struct PlaceOrder {
///     customer: String,
/// }
/// ```
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    message::expand(input.into(), message::Kind::Command).into()
}

/// Makes a struct or an enum a query: it reads, and any node answers.
///
/// It takes the options of [`Command`](macro@Command), without `idempotent`.
///
/// ```
/// use convoke::Query;
/// use serde::{Deserialize, Serialize};
///
/// /// How many orders there are.
/// #[derive(Debug, Clone, Serialize, Deserialize, Query)]
/// #[query(name = "orders.count.v1", reply = u64)]
/// struct CountOrders;
/// ```
#[proc_macro_derive(Query, attributes(query))]
pub fn query(input: TokenStream) -> TokenStream {
    message::expand(input.into(), message::Kind::Query).into()
}

/// Makes a struct or an enum an event: it happened, and every node is told.
///
/// It takes the options `name`, `key`, `validate` and `crate` of [`Command`](macro@Command).
///
/// ```
/// use convoke::Event;
/// use serde::{Deserialize, Serialize};
///
/// /// An order was placed. Equal orders are handled in order.
/// #[derive(Debug, Clone, Serialize, Deserialize, Event)]
/// #[event(name = "orders.placed.v1", key = order_id)]
/// struct OrderPlaced {
///     order_id: u64,
/// }
/// ```
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    message::expand(input.into(), message::Kind::Event).into()
}

/// Builds a service from the app's state and lets `App::discover` find it.
///
/// Each field is cloned from the state by its type; a field with `#[service(default)]` is its type's default
/// instead. `#[service(crate = "..")]` on the struct is for crates that re-export `convoke`.
///
/// ```
/// use convoke::{Outcome, Query, Service, handlers};
/// use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Serialize, Deserialize, Query)]
/// # #[query(name = "orders.count.v1", reply = u64)]
/// # struct CountOrders;
///
/// #[derive(Service)]
/// struct Orders {
///     count: u64,
/// }
///
/// #[handlers]
/// impl Orders {
///     #[handler]
///     async fn count(&self, _: CountOrders) -> Outcome<CountOrders> {
///         Ok(self.count)
///     }
/// }
/// ```
#[proc_macro_derive(Service, attributes(service))]
pub fn service(input: TokenStream) -> TokenStream {
    service::expand(input.into()).into()
}

/// On an `impl` block: each method marked `#[handler]` handles the message it takes.
///
/// The methods stay as they were written. [`handler`](macro@handler) lists the options of each of them;
/// `#[handlers(crate = "..")]` is for crates that re-export `convoke`.
#[proc_macro_attribute]
pub fn handlers(args: TokenStream, item: TokenStream) -> TokenStream {
    handlers::expand(args.into(), item.into()).into()
}

/// On a method inside `#[handlers] impl`, or on a free `async fn`.
///
/// A method takes its message and, when it needs it, `cx: &Context`. A function may also take what implements
/// `Extract`, such as `State(store): State<Store>`.
///
/// | option | for | meaning |
/// |---|---|---|
/// | `group = "billing"` | events | one node of the group handles each, instead of every node |
/// | `view` | events | fed from the stream's beginning at every start; may not publish or send |
/// | `leader`, `leader = "reject"` | commands, queries | only the leader handles it; others forward or refuse |
/// | `timeout = "2s"` | all | how long one run may take (`ms`, `s`, `m`) |
/// | `concurrency = 8` | all | runs at once on one node |
/// | `on_store_error = "proceed"` | idempotent commands | run without a claim when the store is away |
/// | `attempts = 3` | events, commands | runs of an event or an enqueued command that may fault before it is a dead letter |
/// | `backoff = "1s"` | events, commands | the pause after the first of them; it doubles with each |
/// | `on_dead = "park"` | events, commands with a key | later messages of a key wait behind its dead letter, until its replay |
/// | `crate = ".."` | functions | for crates that re-export `convoke` |
///
/// ```
/// use convoke::{Context, Event, Handled, State, handler};
/// use serde::{Deserialize, Serialize};
/// # #[derive(Debug, Clone, Serialize, Deserialize, Event)]
/// # #[event(name = "orders.placed.v1")]
/// # struct OrderPlaced;
///
/// #[handler(group = "mail", timeout = "2s")]
/// async fn mail(_: OrderPlaced, cx: &Context, State(greeting): State<String>) -> Handled {
///     println!("{greeting}, {}", cx.id());
///     Ok(())
/// }
/// ```
#[proc_macro_attribute]
pub fn handler(args: TokenStream, item: TokenStream) -> TokenStream {
    handler::expand(args.into(), item.into()).into()
}
