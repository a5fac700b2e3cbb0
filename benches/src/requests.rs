//! Request and reply over NATS: two nodes with a runtime and a connection each, in this process.

mod ours;
mod raw;

use std::{sync::Arc, time::Duration};

use convoke_testing::servers::NatsServer;
use tokio::{sync::Barrier, time::Instant};

use crate::{
    BoxError, Plan,
    place::{Flavor, Place},
    rounds::{self, Sample, Side, cpu_time},
    table::{self, Goal, Unit},
};

/// Before counting starts.
const WARM_UP: Duration = Duration::from_millis(100);

/// Who asks, and a request as it does it.
trait Asks: Clone + Send + Sync + 'static {
    /// Asks, waits for the answer and reads it. The number comes back.
    fn ask(&self, number: u32) -> impl Future<Output = Result<u32, BoxError>> + Send;
}

/// The goals belong to the multi-thread runtime, which most services have.
pub(crate) fn run(plan: &Plan, flavor: Flavor, in_flight: &[usize]) -> Result<bool, BoxError> {
    let office = Place::new(Flavor::MultiThread)?;
    let server = office.run(NatsServer::start())?;
    let url = server.url();
    let raw = raw::Pair::start(&url, flavor)?;
    let ours = ours::Pair::start(&url, flavor)?;
    let mut reached = true;
    for &in_flight in in_flight {
        let latency = in_flight == 1;
        let figure = move |outcome: Outcome| outcome.sample(latency);
        let mut sides = [
            Side::new("convoke", |time| Ok(figure(ours.measure(in_flight, time)?))),
            Side::new("async-nats, spawned loop", |time| Ok(figure(raw.measure(in_flight, time)?))),
        ];
        rounds::run(plan, &mut sides)?;
        let title = format!("request and reply over NATS, {in_flight} in flight, {}", flavor.words());
        let unit = if latency {
            Unit { name: "p50 in us, lower is better", decimals: 1 }
        } else {
            Unit { name: "requests/s, higher is better", decimals: 0 }
        };
        table::figures(&title, unit, &sides);
        reached &= table::ratio(&sides[0], &sides[1], goal(flavor, in_flight));
    }
    Ok(reached)
}

fn goal(flavor: Flavor, in_flight: usize) -> Goal {
    match (flavor, in_flight) {
        (Flavor::MultiThread, 1) => Goal::RatioAtMost(1.15),
        (Flavor::MultiThread, 64) => Goal::RatioAtLeast(0.85),
        _ => Goal::None,
    }
}

/// What was measured in one round.
struct Outcome {
    latencies_ns: Vec<u32>,
    took: Duration,
    cpu: Duration,
}

impl Outcome {
    fn sample(mut self, latency: bool) -> Sample {
        let requests = self.latencies_ns.len() as f64;
        let figure = if latency {
            let middle = self.latencies_ns.len() / 2;
            self.latencies_ns.sort_unstable();
            self.latencies_ns.get(middle).map_or(f64::NAN, |&ns| f64::from(ns) / 1000.0)
        } else {
            requests / self.took.as_secs_f64()
        };
        Sample { figure, cpu_us: Some(self.cpu.as_secs_f64() * 1e6 / requests) }
    }
}

/// So many tasks, each with one request at a time.
fn drive<A: Asks>(place: &Place, asks: &A, in_flight: usize, time: Duration) -> Result<Outcome, BoxError> {
    let asks = asks.clone();
    place.run(async move {
        let started = Arc::new(Barrier::new(in_flight + 1));
        let end = Instant::now() + WARM_UP + time;
        let tasks: Vec<_> = (0..in_flight)
            .map(|_| tokio::spawn(ask_until(asks.clone(), Arc::clone(&started), end)))
            .collect();
        started.wait().await;
        let (begun, cpu) = (Instant::now(), cpu_time());
        let mut latencies_ns = Vec::new();
        for task in tasks {
            latencies_ns.extend(task.await??);
        }
        Ok(Outcome { latencies_ns, took: begun.elapsed(), cpu: cpu_time() - cpu })
    })
}

async fn ask_until<A: Asks>(asks: A, started: Arc<Barrier>, end: Instant) -> Result<Vec<u32>, BoxError> {
    let warm = Instant::now() + WARM_UP;
    let mut number = 0;
    while Instant::now() < warm {
        number += 1;
        asks.ask(number).await?;
    }
    started.wait().await;
    let mut latencies_ns = Vec::with_capacity(1 << 16);
    loop {
        let begun = std::time::Instant::now();
        if begun >= end.into_std() {
            return Ok(latencies_ns);
        }
        number += 1;
        asks.ask(number).await?;
        latencies_ns.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
}
