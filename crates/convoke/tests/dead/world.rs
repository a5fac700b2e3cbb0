//! What the handlers of the tests do.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{Failure, LetterFilter};
use convoke_testing::TestApp;
use tokio::time::Instant;

/// What ran, and for which numbers something is broken.
#[derive(Clone, Default)]
pub(crate) struct World(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    ran: Vec<(String, Instant)>,
    broken: BTreeSet<u32>,
}

impl World {
    pub(crate) fn broken_for(numbers: impl IntoIterator<Item = u32>) -> Self {
        let world = Self::default();
        world.0.lock().unwrap().broken.extend(numbers);
        world
    }
    pub(crate) fn repair(&self, number: u32) {
        self.0.lock().unwrap().broken.remove(&number);
    }
    pub(crate) fn breaks(&self, number: u32) {
        self.0.lock().unwrap().broken.insert(number);
    }
    pub(crate) fn works(&self, number: u32) -> io::Result<()> {
        let broken = self.0.lock().unwrap().broken.contains(&number);
        if broken { Err(io::Error::other(format!("{number} is broken"))) } else { Ok(()) }
    }
    pub(crate) fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().ran.push((line.into(), Instant::now()));
    }
    /// What ran since the last look.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().ran.drain(..).map(|(line, _)| line).collect()
    }
    /// How much ran since the last look.
    pub(crate) fn pending(&self) -> usize {
        self.0.lock().unwrap().ran.len()
    }
    /// The pauses between the runs of this line, in milliseconds.
    pub(crate) fn pauses(&self, line: &str) -> Vec<u64> {
        let state = self.0.lock().unwrap();
        let at: Vec<_> = state.ran.iter().filter(|(ran, _)| ran == line).map(|(_, at)| *at).collect();
        at.windows(2).map(|two| u64::try_from((two[1] - two[0]).as_millis()).unwrap()).collect()
    }
}

/// A fault of the kind that the number says.
pub(crate) fn fault<E>(number: u32) -> Failure<E> {
    match number {
        1 => Failure::poison(io::Error::other("poison")),
        2 => Failure::retry_after(Duration::from_secs(7), io::Error::other("later")),
        _ => Failure::fault(io::Error::other("broken")),
    }
}

pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

/// Replays, or drops, every letter there is, oldest first, and waits until all is handled.
pub(crate) async fn all_letters(app: &TestApp, drop: bool) -> usize {
    let letters = app.bus().letters();
    let page = letters.list(&LetterFilter::all(), 0, 1000, soon()).await.unwrap();
    for letter in &page.letters {
        let done = match drop {
            true => letters.discard(letter.number, soon()).await,
            false => letters.replay(letter.number, soon()).await,
        };
        assert!(done.unwrap());
    }
    app.settled().await;
    page.letters.len()
}
