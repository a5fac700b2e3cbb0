//! How long nobody can write: after the leader was killed, and while it hands over. Three processes on loopback, their
//! state on disk, and a client at each of them that writes all the time.

mod events;
mod figures;
pub(crate) mod member;
mod trio;

use std::{
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use convoke::cluster::Timing;

use self::{figures::Row, trio::Trio};
use crate::BoxError;

/// What is to be reached, as medians. Presets without one are only told.
const KILLED_GOALS: [(&str, Duration); 2] =
    [("default", Duration::from_millis(800)), ("lan-fast", Duration::from_millis(600))];
const HANDED_OVER_GOAL: Duration = Duration::from_millis(50);
/// The shortest time between two runs, and how much of it changes from run to run: the kill must not always meet the same
/// moment between two heartbeats.
const REST: Duration = Duration::from_millis(400);
const REST_SPREAD_MS: u64 = 251;

/// What to measure.
#[derive(Debug, Clone, Args)]
pub(crate) struct Runs {
    /// Leaders to kill, and transfers to ask for, with each preset.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Presets of `[cluster]`: `default`, `lan-fast`, `wan`.
    #[arg(long, value_delimiter = ',', default_values = ["default", "lan-fast"], value_parser = preset)]
    presets: Vec<String>,
}

fn preset(text: &str) -> Result<String, String> {
    Timing::named(text).map(|_| text.to_owned()).ok_or_else(|| "`default`, `lan-fast` or `wan`".to_owned())
}

/// Whether every goal was reached.
pub(crate) fn run(runs: &Runs) -> Result<bool, BoxError> {
    println!("three processes on loopback, state on disk, a write every {:?} at each", member::WRITE_EVERY);
    let mut rows = Vec::new();
    for preset in &runs.presets {
        let mut trio = Trio::start(preset)?;
        let (mut killed, mut handed_over) = (Vec::new(), Vec::new());
        for run in 0..runs.runs {
            rest(run);
            killed.push(trio.kill_the_leader()?);
            rest(run);
            handed_over.push(trio.hand_over()?);
        }
        let goal = KILLED_GOALS.iter().find(|(name, _)| name == preset).map(|(_, goal)| *goal);
        rows.push(Row::new(format!("{preset}: leader killed"), goal, killed));
        rows.push(Row::new(format!("{preset}: leader hands over"), Some(HANDED_OVER_GOAL), handed_over));
    }
    figures::print(&rows);
    Ok(rows.iter().all(Row::is_reached))
}

/// A while in which clients only write, of another length in each run.
fn rest(run: u32) {
    let more = u64::from(run) * 97 % REST_SPREAD_MS;
    let until = Instant::now() + REST + Duration::from_millis(more);
    thread::sleep(until.saturating_duration_since(Instant::now()));
}
