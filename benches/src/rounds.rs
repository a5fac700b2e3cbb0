//! Rounds in which every side is measured once, in alternating order: what disturbs the machine disturbs all.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::{BoxError, Plan};

/// What is measured, and how.
pub(crate) struct Side<'a> {
    pub(crate) name: &'static str,
    measure: Box<dyn FnMut(Duration) -> Result<Sample, BoxError> + 'a>,
    pub(crate) samples: Vec<Sample>,
}

/// One side in one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) figure: f64,
    /// CPU time of this process per operation, in microseconds.
    pub(crate) cpu_us: Option<f64>,
}

impl<'a> Side<'a> {
    pub(crate) fn new(
        name: &'static str,
        measure: impl FnMut(Duration) -> Result<Sample, BoxError> + 'a,
    ) -> Self {
        Self { name, measure: Box::new(measure), samples: Vec::new() }
    }

    pub(crate) fn figures(&self) -> impl Iterator<Item = f64> {
        self.samples.iter().map(|sample| sample.figure)
    }
}

/// Measures all sides in all rounds.
pub(crate) fn run(plan: &Plan, sides: &mut [Side<'_>]) -> Result<(), BoxError> {
    for round in 0..plan.rounds {
        for place in 0..sides.len() {
            let index = if round % 2 == 0 { place } else { sides.len() - 1 - place };
            let sample = (sides[index].measure)(plan.time())?;
            sides[index].samples.push(sample);
        }
    }
    Ok(())
}

/// CPU time that this process has used.
pub(crate) fn cpu_time() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time that this thread has used.
pub(crate) fn thread_cpu_time() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(
        time.tv_sec.try_into().expect("time does not run backwards"),
        time.tv_nsec.try_into().expect("below a second"),
    )
}
