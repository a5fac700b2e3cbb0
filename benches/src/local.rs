//! A command that stays in the process, beside a direct boxed call and the mediator of catga-core.

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use convoke::{App, BoxFuture, Command, Mediator, Outcome, Rejection, handler};
use serde::{Deserialize, Serialize};
use tokio::runtime::Builder;

use crate::{
    BoxError, Plan, catga,
    place::{Flavor, Place},
    rounds::{self, Sample, Side, thread_cpu_time},
    table::{self, Goal, Unit},
};

/// What one `send` may cost in a single thread, in nanoseconds.
const SEND_NS_MAX: f64 = 150.0;
/// Calls between two looks at the clock.
const BATCH: u64 = 10_000;
const UNIT: Unit = Unit { name: "ns of CPU per call, lower is better", decimals: 1 };

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "bench.add.v1", reply = u64, error = Rejection)]
struct Add(u64);

#[handler]
async fn add(Add(number): Add) -> Outcome<Add> {
    Ok(number + 1)
}

type Boxed = Box<dyn Fn(Add) -> BoxFuture<'static, Result<u64, Rejection>> + Send + Sync>;

pub(crate) fn run(plan: &Plan) -> Result<bool, BoxError> {
    let place = Place::new(Flavor::CurrentThread)?;
    let node = place.run(App::new("local").node("local").function(add).start())?;
    let mediator = node.mediator();
    let boxed: Boxed = Box::new(|Add(number)| Box::pin(async move { Ok(number + 1) }));
    let peer = catga::Peer::build().inspect_err(|error| println!("catga-core is left out: {error}")).ok();
    let mut reached = true;
    for threads in [1, 2] {
        let mut sides = vec![
            Side::new("convoke", |time| on_threads(threads, time, |time| sending(&mediator, time))),
            Side::new("direct boxed call", |time| on_threads(threads, time, |time| calling(&boxed, time))),
        ];
        if let Some(peer) = &peer {
            sides.push(Side::new("catga-core 0.2.0", |time| peer.measure(threads, time)));
        }
        rounds::run(plan, &mut sides)?;
        let title = format!("send within the process, {threads} thread(s)");
        table::figures(&title, UNIT, &sides);
        let single = threads == 1;
        if single {
            reached &= table::at_most(&sides[0], UNIT, SEND_NS_MAX);
        }
        table::ratio(&sides[0], &sides[1], Goal::None);
        if let Some(theirs) = sides.get(2) {
            let goal = if single { Goal::RatioAtMost(1.0) } else { Goal::None };
            reached &= table::ratio(&sides[0], theirs, goal);
        }
    }
    Ok(reached)
}

/// The mean of what each thread measured.
fn on_threads(
    threads: usize,
    time: Duration,
    measure: impl Fn(Duration) -> Result<f64, BoxError> + Sync,
) -> Result<Sample, BoxError> {
    let measure = &measure;
    let figures = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(move || measure(time))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
    })?;
    Ok(Sample { figure: figures.iter().sum::<f64>() / threads as f64, cpu_us: None })
}

fn sending(mediator: &Mediator, time: Duration) -> Result<f64, BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(repeated(time, async |number| Ok(mediator.send(Add(number)).await?)))
}

fn calling(boxed: &Boxed, time: Duration) -> Result<f64, BoxError> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(repeated(time, async |number| Ok(black_box(boxed)(Add(number)).await?)))
}

/// Nanoseconds of the thread's CPU time per call: what else runs on the machine counts less than by the clock.
async fn repeated(time: Duration, call: impl AsyncFn(u64) -> Result<u64, BoxError>) -> Result<f64, BoxError> {
    for number in 0..BATCH {
        black_box(call(black_box(number)).await?);
    }
    let (begun, cpu, mut calls) = (Instant::now(), thread_cpu_time(), 0);
    while begun.elapsed() < time {
        for number in 0..BATCH {
            black_box(call(black_box(number)).await?);
        }
        calls += BATCH;
    }
    Ok((thread_cpu_time() - cpu).as_nanos() as f64 / calls as f64)
}
