//! What the derives and attributes make of programs without mistakes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use convoke::{
    App, Command, Context, Event, Handled, Invalid, Message, MessageKind, Node, Outcome, Query, Rejection,
    Service, State, catalog, handler, handlers,
};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// Tells the test what the handlers did.
#[derive(Debug, Clone)]
struct Log(mpsc::UnboundedSender<String>);

impl Log {
    fn note(&self, line: impl Into<String>) {
        // A test that has ended no longer listens.
        let _ = self.0.send(line.into());
    }
}

/// What was noted so far, or will be soon.
struct Lines(mpsc::UnboundedReceiver<String>);

impl Lines {
    /// The next lines, in alphabetical order: handlers of one event run in any order.
    async fn next<const N: usize>(&mut self) -> [String; N] {
        let mut lines = [const { String::new() }; N];
        for line in &mut lines {
            let noted = tokio::time::timeout(Duration::from_secs(10), self.0.recv()).await;
            *line = noted.expect("a handler ran within ten seconds").expect("the app holds the log");
        }
        lines.sort();
        lines
    }
}

fn log() -> (Log, Lines) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (Log(sender), Lines(receiver))
}

/// On an in-process bus.
async fn start(app: App) -> Node {
    app.start().await.expect("the wiring is right")
}

/// Why the app cannot be built.
fn refused(app: App) -> String {
    app.build().expect_err("the wiring is wrong").to_string()
}

// ------------------------------------------------------------------------------------------------ a service

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.place.v1", reply = u64, error = Rejection)]
struct PlaceOrder {
    items: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.count.v1", reply = u64)]
struct CountOrders;

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "orders.placed.v1", key = id)]
struct OrderPlaced {
    id: u64,
}

/// One command, one query, and one event in two methods.
#[derive(Service)]
struct Orders {
    log: Log,
    #[service(default)]
    placed: AtomicU64,
}

#[handlers]
impl Orders {
    #[handler(timeout = "2s", concurrency = 8)]
    async fn place(&self, command: PlaceOrder, cx: &Context) -> Outcome<PlaceOrder> {
        if command.items == 0 {
            Err(Rejection::new("orders.empty", "an order needs an item"))?;
        }
        let id = self.placed.fetch_add(1, Ordering::Relaxed) + 1;
        self.announce(id, cx).await;
        Ok(id)
    }

    #[handler]
    async fn count(&self, _: CountOrders) -> Outcome<CountOrders> {
        Ok(self.placed.load(Ordering::Relaxed))
    }

    #[handler]
    async fn index(&self, event: OrderPlaced) -> Handled {
        self.log.note(format!("indexed {}", event.id));
        Ok(())
    }

    #[handler(group = "billing")]
    async fn bill(&self, OrderPlaced { id }: OrderPlaced, cx: &Context) -> Handled {
        let count = cx.mediator().query(CountOrders).await?;
        self.log.note(format!("billed {id} of {count}"));
        Ok(())
    }

    // Left out with all that is generated for it: none of the types exists.
    #[cfg(any())]
    #[handler(group = "nobody")]
    async fn never(&self, _: NoSuchEvent) -> NoSuchOutcome {}

    /// Not a handler: an ordinary method that borrows the context across an await.
    async fn announce(&self, id: u64, cx: &Context) {
        tokio::task::yield_now().await;
        cx.publish(OrderPlaced { id });
    }
}

// ---------------------------------------------------------------------------------------------- functions

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "orders.cancel.v1", reply = String)]
struct CancelOrder {
    id: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "orders.cancelled.v1")]
struct OrderCancelled(u64);

#[handler]
async fn cancel(command: CancelOrder, cx: &Context, State(log): State<Log>) -> Outcome<CancelOrder> {
    log.note(format!("cancelling {}", command.id));
    tokio::task::yield_now().await;
    cx.publish(OrderCancelled(command.id));
    Ok(cx.name().to_string())
}

/// Named like what is generated around it, with the event taken apart.
#[handler(group = "mail")]
async fn message(OrderCancelled(id): OrderCancelled, State(cx): State<Log>) -> Handled {
    cx.note(format!("mailed {id}"));
    Ok(())
}

#[handler]
async fn r#type(_: OrderCancelled, State(log): State<Log>, cx: &Context) -> Handled {
    log.note(format!("typed in attempt {}", cx.attempt()));
    Ok(())
}

#[cfg(any())]
#[handler]
async fn never(_: NoSuchEvent) -> NoSuchOutcome {}

/// Everything that is compiled into this test and can be discovered.
async fn discovered() -> (Node, Lines) {
    let (log, lines) = log();
    let app = App::new("orders").state(log).discover().expects(catalog!(
        PlaceOrder,
        CountOrders,
        OrderPlaced,
        CancelOrder,
        OrderCancelled
    ));
    (start(app).await, lines)
}

#[tokio::test]
async fn one_service_takes_a_command_a_query_and_one_event_twice() {
    let (app, mut lines) = discovered().await;
    assert_eq!(app.mediator().send(PlaceOrder { items: 1 }).await.expect("the order is placed"), 1);
    assert_eq!(app.mediator().query(CountOrders).await.expect("orders are counted"), 1);
    assert_eq!(lines.next().await, ["billed 1 of 1", "indexed 1"]);
}

#[tokio::test]
async fn a_method_refuses_with_the_error_of_its_message() {
    let (app, _lines) = discovered().await;
    let refused = app.mediator().send(PlaceOrder { items: 0 }).await.expect_err("an empty order is refused");
    assert_eq!(refused.rejected().map(|rejection| rejection.code.as_str()), Some("orders.empty"));
}

#[tokio::test]
async fn a_function_takes_state_and_borrows_the_context_across_an_await() {
    let (app, mut lines) = discovered().await;
    let name = app.mediator().send(CancelOrder { id: 7 }).await.expect("the order is cancelled");
    assert_eq!(name, "orders.cancel.v1");
    assert_eq!(lines.next().await, ["cancelling 7"]);
    assert_eq!(lines.next().await, ["mailed 7", "typed in attempt 1"]);
}

// ------------------------------------------------------------------------------------- services by hand

/// Without a derive, and for any counter.
struct Counter<T>(T);

#[handlers]
impl<T> Counter<T>
where
    T: Clone + Into<u64> + Send + Sync + 'static,
{
    #[handler]
    async fn count(&self, _: CountOrders) -> Outcome<CountOrders> {
        Ok(self.0.clone().into())
    }
}

#[tokio::test]
async fn a_generic_service_is_wired_by_hand() {
    let app = start(App::new("counter").service(Counter(7_u32))).await;
    assert_eq!(app.mediator().query(CountOrders).await.expect("orders are counted"), 7);
}

/// All of Convoke, where another crate could have it.
mod bus {
    pub(crate) use convoke as exported;
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "bus.ring.v1", reply = u64, crate = "crate::bus::exported")]
struct Ring;

#[derive(Service)]
#[service(crate = "crate::bus::exported")]
struct Bell {
    #[service(default)]
    rung: Arc<AtomicU64>,
}

#[handlers(crate = "crate::bus::exported")]
impl Bell {
    #[handler]
    async fn ring(&self, _: Ring) -> Outcome<Ring> {
        Ok(self.rung.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

#[tokio::test]
async fn a_crate_that_re_exports_convoke_can_be_named() {
    let app = start(App::new("bell").service(Bell { rung: Arc::default() })).await;
    assert_eq!(app.mediator().send(Ring).await.expect("the bell rings"), 1);
}

// ------------------------------------------------------------------------------------------------ messages

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cart {
    id: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize, garde::Validate, Command)]
#[command(name = "carts.check-out.v2", idempotent, key = cart.id, validate)]
struct CheckOut {
    #[garde(skip)]
    cart: Cart,
    #[garde(length(min = 1), inner(range(min = 1)))]
    quantities: Vec<u64>,
}

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "carts.checked_out.v1", key = 1, validate = Self::whole)]
struct CheckedOut(u64, String);

impl CheckedOut {
    fn whole(&self) -> Result<(), Invalid> {
        if self.1.is_empty() { Err(Invalid::field("1", "must not be empty")) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "carts.find.v1", reply = Vec<u64>, error = convoke::Rejection)]
enum FindCarts {
    All,
    Of { customer: String },
}

fn check_out(quantities: &[u64]) -> CheckOut {
    CheckOut { cart: Cart { id: 42 }, quantities: quantities.to_vec() }
}

#[test]
fn a_message_carries_what_its_attribute_says() {
    fn says<M: Message>() -> (&'static str, MessageKind, bool) {
        (M::NAME, <M::Kind as convoke::Kind>::KIND, M::IDEMPOTENT)
    }
    assert_eq!(says::<CheckOut>(), ("carts.check-out.v2", MessageKind::Command, true));
    assert_eq!(says::<PlaceOrder>(), ("orders.place.v1", MessageKind::Command, false));
    assert_eq!(says::<FindCarts>(), ("carts.find.v1", MessageKind::Query, false));
    assert_eq!(says::<CheckedOut>(), ("carts.checked_out.v1", MessageKind::Event, false));
}

#[test]
fn a_key_is_the_text_of_a_field_or_of_a_field_within_one() {
    assert_eq!(OrderPlaced { id: 5 }.key().as_deref(), Some("5"));
    assert_eq!(check_out(&[1]).key().as_deref(), Some("42"));
    assert_eq!(CheckedOut(1, "cart-1".into()).key().as_deref(), Some("cart-1"));
    assert_eq!(PlaceOrder { items: 1 }.key(), None);
}

#[test]
fn garde_validates_a_message_and_names_the_fields() {
    assert_eq!(check_out(&[1, 2]).validate(), Ok(()));
    let invalid = check_out(&[3, 0]).validate().expect_err("a quantity is at least 1");
    let fields: Vec<_> = invalid.violations.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(fields, ["quantities[1]"]);
    assert!(check_out(&[]).validate().is_err(), "a cart has a quantity");
}

#[test]
fn a_function_validates_a_message() {
    assert_eq!(CheckedOut(1, "cart-1".into()).validate(), Ok(()));
    assert_eq!(CheckedOut(1, String::new()).validate(), Err(Invalid::field("1", "must not be empty")));
    assert_eq!(FindCarts::All.validate(), Ok(()), "nothing is checked unless it is asked for");
    assert_eq!(FindCarts::Of { customer: String::new() }.validate(), Ok(()));
}

// -------------------------------------------------------------------------------------------------- places

mod wrong {
    use super::*;

    /// Wired by hand only, beside another that counts.
    #[derive(Clone)]
    pub(super) struct Twice;

    #[handlers]
    impl Twice {
        #[handler]
        async fn tally(&self, _: CountOrders) -> Outcome<CountOrders> {
            Ok(0)
        }
    }
}

/// `file:line:column` of the first `text` in this file.
fn place(text: &str) -> String {
    let mut here = include_str!("macros.rs").lines().zip(1..);
    let (line, column) = here
        .find_map(|(line, number)| Some((number, line.find(text)? + 1)))
        .expect("the text is in this file");
    format!("{}:{line}:{column}", file!())
}

#[test]
fn a_handler_and_a_field_are_named_with_their_places() {
    let app = App::new("wrong").service(wrong::Twice).service(Counter(7_u32));
    let text = refused(app);
    assert!(text.contains("Twice::tally") && text.contains("Counter::count"), "{text}");
    assert!(text.contains(&place("tally(&self")), "{text}");

    let text = refused(App::new("wrong").discover());
    assert!(text.contains("its field `log`") && text.contains(&place("log: Log,")), "{text}");
    assert!(
        text.contains("argument 3") && text.contains(&place("State<Log>) -> Outcome<CancelOrder>")),
        "{text}"
    );
}
