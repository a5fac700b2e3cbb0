//! `convoke-bench-catga <threads> <milliseconds>` prints the nanoseconds of CPU time of one `Mediator::send` of catga-core, the
//! mean over the threads. The loop is that of `convoke-benches local`.

use std::{
    env,
    error::Error,
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use catga_core::{CatgaResult, Handler, Mediator, Message, MessageTypeId, Registry, Request};
use rustix::time::{ClockId, clock_gettime};

type BoxError = Box<dyn Error + Send + Sync>;

/// Calls between two looks at the clock.
const BATCH: u64 = 10_000;

struct AddTypeId;

impl MessageTypeId for AddTypeId {
    const NAME: &'static str = "bench.add.v1";
}

struct Add(u64);

impl Message for Add {}

impl Request for Add {
    type Response = u64;
    type TypeId = AddTypeId;
}

struct Adds;

#[async_trait]
impl Handler<Add> for Adds {
    async fn handle(&self, Add(number): Add) -> CatgaResult<u64> {
        Ok(number + 1)
    }
}

fn main() -> Result<(), BoxError> {
    let mut arguments = env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: convoke-bench-catga <threads> <milliseconds>");
    let (threads, time) = (next()?.parse::<usize>()?, Duration::from_millis(next()?.parse()?));
    let mut registry = Registry::new();
    registry.register_request::<Add, _>(Adds)?;
    let mediator = Mediator::new(registry);
    let figures = thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(|| sending(&mediator, time))).collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
    })?;
    println!("{}", figures.iter().sum::<f64>() / figures.len() as f64);
    Ok(())
}

fn sending(mediator: &Mediator, time: Duration) -> Result<f64, BoxError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        for number in 0..BATCH {
            black_box(mediator.send(Add(black_box(number))).await?);
        }
        let (begun, cpu, mut calls) = (Instant::now(), thread_cpu_time(), 0);
        while begun.elapsed() < time {
            for number in 0..BATCH {
                black_box(mediator.send(Add(black_box(number))).await?);
            }
            calls += BATCH;
        }
        Ok((thread_cpu_time() - cpu).as_nanos() as f64 / calls as f64)
    })
}

fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().expect("time does not run backwards"),
        time.tv_nsec.try_into().expect("below a second"),
    )
}
