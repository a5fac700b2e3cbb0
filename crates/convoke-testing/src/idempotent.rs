//! Whether a handler that runs again, after a death at any of its awaits, leaves the same behind.

mod diff;
mod effects;
mod run;
mod subject;

use std::{fmt::Write, panic::resume_unwind, thread};

use convoke_core::{Kind, Message, MessageKind};

use crate::outside::{CrashPoint, each_crash_point};
use effects::Effects;
use run::{Ran, Trial, run};
pub use subject::Subject;

/// Handles one message again and again, and panics when what it leaves behind differs: once without a death; delivered
/// twice; and with the node's death before and after each call outside (to the bus, the stores, and each
/// [`step`](crate::outside::step) of a test double) and wherever a handler waits. After a death the node is started
/// again with the same bus, stores and world, and comes to rest.
///
/// Compared are the messages that were published and enqueued, by their ids; the outcomes that were stored; the dead
/// letters; and what the subject's own probe shows. Commands are enqueued, events published. Call it in a plain
/// `#[test]`: it makes runtimes of its own, with paused time, so test doubles should stay off the network.
///
/// ```
/// # use std::{collections::BTreeMap, sync::{Arc, Mutex}};
/// # use convoke_core::{App, Command, Context, Message, Never, kind};
/// # use convoke_core::{Failure, Handler, HandlerSpec, Handlers, Options, Registry};
/// # use serde::{Deserialize, Serialize};
/// # use uuid::Uuid;
/// # #[derive(Debug, Clone, Serialize, Deserialize)]
/// # struct PlaceOrder { tea: u32 }
/// # impl Message for PlaceOrder {
/// #     const NAME: &'static str = "orders.place.v1";
/// #     type Kind = kind::Command;
/// #     type Reply = Uuid;
/// #     type Error = Never;
/// # }
/// use convoke_testing::{Subject, assert_idempotent};
///
/// #[derive(Clone, Default)]
/// struct Orders(Arc<Mutex<BTreeMap<Uuid, u32>>>);
/// # struct Service(Orders);
/// # impl Handler<PlaceOrder> for Service {
/// #     async fn handle(&self, cmd: PlaceOrder, cx: &Context) -> Result<Uuid, Failure<Never>> {
/// #         let put = async { self.0.0.lock().unwrap().insert(cx.id(), cmd.tea) };
/// #         convoke_testing::outside::step("put order", put).await;
/// #         Ok(cx.id())
/// #     }
/// # }
/// # impl Handlers for Service {
/// #     fn register(self: Arc<Self>, registry: &mut Registry) {
/// #         registry.add::<PlaceOrder, _, _>(self, HandlerSpec::new("Service", "place", Options::DEFAULT));
/// #     }
/// # }
/// # fn app(orders: &Orders) -> App { App::new("orders").service(Service(orders.clone())) }
///
/// // What outlives a node is made anew for each run, and handed to each node of the run.
/// let subject = Subject::new(Orders::default, |orders| app(orders));
/// let subject = subject.probe(async |orders| orders.0.lock().unwrap().clone());
/// assert_idempotent(subject, PlaceOrder { tea: 3 });
/// ```
///
/// # Panics
/// When the effects differ: with the place of the death and what differs. And when nothing handles the message, when it
/// is a query, when its handler fails without any death, or when what the probe shows differs by itself.
#[track_caller]
pub fn assert_idempotent<W, M>(subject: Subject<W>, message: M)
where
    W: 'static,
    M: Message,
{
    assert!(M::Kind::KIND != MessageKind::Query, "`{}` is a query: it has no effects to repeat", M::NAME);
    // A thread of its own: the caller's may have a runtime already.
    let found = thread::scope(|scope| {
        let name = thread::current().name().unwrap_or("assert_idempotent").to_owned();
        let tried = thread::Builder::new().name(name).spawn_scoped(scope, || try_all(&subject, &message));
        tried.expect("a thread can be made").join().unwrap_or_else(|panic| resume_unwind(panic))
    });
    if let Err(text) = found {
        panic!("{text}");
    }
}

/// All trials of one message. An error is what a person reads.
fn try_all<W: 'static, M: Message>(subject: &Subject<W>, message: &M) -> Result<(), String> {
    let (expected, other) = (run(subject, message, Trial::Plain), run(subject, message, Trial::Plain));
    if !expected.handled {
        return Err(format!("nothing handled `{}`: is its handler registered with the app?", M::NAME));
    }
    let expected = expected.effects.sound(M::NAME)?;
    let stable = expected.stable_beside(&other.effects)?;
    let mut found = Vec::new();
    let mut look = |trial: Trial, ran: Ran| {
        let diff = stable.diff(&ran.effects);
        found.extend(diff.map(|diff| (trial, ran.calls, diff)));
    };
    look(Trial::Twice, run(subject, message, Trial::Twice));
    each_crash_point(|point| {
        let ran = run(subject, message, Trial::Death(point));
        let died = ran.died;
        if died {
            look(Trial::Death(point), ran);
        }
        died
    });
    // A death after a call and one before the next are neighbours.
    found.sort_by_key(|(trial, ..)| match trial {
        Trial::Death(CrashPoint { call, side }) => (*call, *side as usize),
        Trial::Plain | Trial::Twice => (0, 0),
    });
    if found.is_empty() { Ok(()) } else { Err(report(M::NAME, &found)) }
}

fn report(name: &str, found: &[(Trial, Vec<String>, String)]) -> String {
    let places: Vec<_> = found.iter().map(|(trial, calls, _)| place(*trial, calls)).collect();
    let mut text = format!("`{name}` is not idempotent: what it leaves behind differs {}\n", places[0]);
    let (trial, calls, diff) = &found[0];
    if matches!(trial, Trial::Death(_)) {
        let _ = writeln!(text, "calls of the life that ended there: {}", calls.join(", "));
    }
    let _ = write!(text, "- in a run without that\n+ in this run\n\n{diff}");
    if found.len() > 1 {
        let _ = write!(text, "\nIt differs in {} runs: {}", found.len(), places.join("; "));
    }
    text
}

fn place(trial: Trial, calls: &[String]) -> String {
    match trial {
        Trial::Plain => "in nothing".to_owned(),
        Trial::Twice => "when it is delivered twice".to_owned(),
        Trial::Death(point) => {
            let call = calls.get(point.call - 1).map_or("unknown", |call| call);
            format!("when the node dies {point}, `{call}`")
        }
    }
}
