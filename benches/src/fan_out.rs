//! Events to three nodes over JetStream: one publisher with a bounded window, three durable consumers, each event
//! acknowledged by itself. Every node has a runtime and a connection of its own, in this process.

mod ours;
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use convoke_testing::servers::NatsServer;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::{Instant, sleep};

use ours::Marks;

use crate::{
    BoxError, Plan,
    message::Happened,
    place::{Flavor, Place},
    rounds::{self, Sample, Side, cpu_time},
    table::{self, Goal, Unit},
};

/// Nodes that get every event.
const NODES: usize = 3;
/// Events that are published and not confirmed.
const WINDOW: usize = 256;
/// How often it is looked whether all events have come.
const LOOK: Duration = Duration::from_millis(1);
/// How long the nodes may take for what was published.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Who publishes, and one event as it does it.
trait Publishes: Clone + Send + Sync + 'static {
    /// Publishes and waits until the server has stored it.
    fn publish(&self, event: Happened) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Events that each node has handled.
#[derive(Debug, Clone, Default)]
struct Counts([Arc<Count>; NODES]);

/// What one node counts, in a place of its own so that no cores share it.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Count(AtomicU64);

impl Count {
    fn add(&self, event: &Happened) {
        std::hint::black_box(event.number);
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Counts {
    fn now(&self) -> [u64; NODES] {
        self.0.each_ref().map(|count| count.0.load(Ordering::Relaxed))
    }
}

pub(crate) fn run(plan: &Plan) -> Result<bool, BoxError> {
    let office = Place::new(Flavor::MultiThread)?;
    let server = office.run(NatsServer::start())?;
    let url = server.url();
    let raw = raw::Nodes::start(&url)?;
    let ours = ours::Nodes::start(&url, Marks::Here)?;
    let durable = ours::Nodes::start(&url, Marks::OnServer)?;
    let mut sides = [
        Side::new("convoke", |time| ours.measure(time)),
        Side::new("convoke, marks on the server", |time| durable.measure(time)),
        Side::new("async-nats", |time| raw.measure(false, time)),
        Side::new("async-nats with message ids", |time| raw.measure(true, time)),
    ];
    rounds::run(plan, &mut sides)?;
    let unit = Unit { name: "events/s at the slowest node, higher is better", decimals: 0 };
    let title = format!("events to {NODES} nodes over JetStream, {}", Flavor::MultiThread.words());
    table::figures(&title, unit, &sides);
    let reached = table::ratio(&sides[0], &sides[2], Goal::RatioAtLeast(0.7));
    table::ratio(&sides[0], &sides[3], Goal::None);
    table::ratio(&sides[1], &sides[2], Goal::None);
    Ok(reached)
}

/// Publishes for so long, then waits until every node has handled everything.
fn drive<P: Publishes>(
    place: &Place,
    publishes: &P,
    counts: &Counts,
    time: Duration,
) -> Result<Sample, BoxError> {
    let (publishes, counts) = (publishes.clone(), counts.clone());
    place.run(async move {
        let before = counts.now();
        let (begun, cpu) = (Instant::now(), cpu_time());
        let published = stream::iter(0_u32..)
            .take_while(|_| std::future::ready(begun.elapsed() < time))
            .map(|number| publishes.publish(Happened::new(number)))
            .buffer_unordered(WINDOW)
            .try_fold(0_u64, async |published, ()| Ok(published + 1))
            .await?;
        let stored = begun.elapsed();
        loop {
            let now = counts.now();
            if now.iter().zip(before).all(|(now, before)| *now >= before + published) {
                break;
            }
            if begun.elapsed() > stored + WAIT_MAX {
                return Err(
                    format!("{published} were published, the nodes went from {before:?} to {now:?}").into()
                );
            }
            sleep(LOOK).await;
        }
        let (took, used) = (begun.elapsed(), cpu_time() - cpu);
        let cpu_us = used.as_secs_f64() * 1e6 / published as f64;
        Ok(Sample { figure: published as f64 / took.as_secs_f64(), cpu_us: Some(cpu_us) })
    })
}
