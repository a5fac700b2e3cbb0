use std::{
    borrow::Cow,
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::sleep};

/// How long [`Turns::rest`] waits: paused time passes when nothing else is left to do.
const INSTANT: Duration = Duration::from_millis(1);

/// Lets what several parties do go on step by step, in the order a test chooses. With paused time.
///
/// A party is a number. It takes its steps by [`pass`](Self::pass), or it is a [`Life`](super::Life) whose calls are
/// steps, by [`Life::in_turns`](super::Life::in_turns).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// use convoke_testing::outside::Turns;
///
/// let turns = Turns::held();
/// for party in [1, 2] {
///     let turns = turns.clone();
///     tokio::spawn(async move {
///         turns.pass(party, "first").await;
///         turns.pass(party, "second").await;
///     });
/// }
/// for party in [2, 1, 1] {
///     turns.rest().await; // until everybody waits
///     assert!(turns.next(party));
/// }
/// turns.release();
/// turns.rest().await;
/// assert_eq!(turns.taken(), [(2, "first"), (1, "first"), (1, "second"), (2, "second")].map(|(n, s)| (n, s.into())));
/// # }
/// ```
#[derive(Debug)]
pub struct Turns {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    held: bool,
    waiting: HashMap<usize, VecDeque<(Step, oneshot::Sender<()>)>>,
    taken: Vec<(usize, Step)>,
}

/// What a step does.
type Step = Cow<'static, str>;

impl Turns {
    /// From the first step on everybody waits for his turn.
    pub fn held() -> Arc<Self> {
        let turns = Self::free();
        turns.hold();
        turns
    }

    /// Nobody waits yet.
    pub fn free() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default() })
    }

    /// From now on everybody waits for his turn.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// From now on nobody waits.
    pub fn release(&self) {
        let mut state = self.state();
        state.held = false;
        let waiting = std::mem::take(&mut state.waiting);
        let mut parties: Vec<_> = waiting.into_iter().collect();
        parties.sort_by_key(|(party, _)| *party);
        for (party, steps) in parties {
            steps.into_iter().for_each(|step| take(&mut state, party, step));
        }
    }

    /// Takes a step, when it is this party's turn.
    pub async fn pass(&self, party: usize, step: impl Into<Step>) {
        let turn = {
            let mut state = self.state();
            if !state.held {
                state.taken.push((party, step.into()));
                return;
            }
            let (go, turn) = oneshot::channel();
            state.waiting.entry(party).or_default().push_back((step.into(), go));
            turn
        };
        let _ = turn.await; // gone is released
    }

    /// Lets a party take its next step. `false` when it waits for none: it is done, or waits for something else.
    pub fn next(&self, party: usize) -> bool {
        let mut state = self.state();
        while let Some(step) = state.waiting.get_mut(&party).and_then(VecDeque::pop_front) {
            if !step.1.is_closed() {
                take(&mut state, party, step);
                return true;
            }
        }
        false
    }

    /// Returns when nothing goes on but what waits for its turn, or for time to pass.
    pub async fn rest(&self) {
        sleep(INSTANT).await;
    }

    /// The steps that were taken, in order.
    pub fn taken(&self) -> Vec<(usize, Step)> {
        self.state().taken.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(state: &mut State, party: usize, (step, go): (Step, oneshot::Sender<()>)) {
    if go.send(()).is_ok() {
        state.taken.push((party, step));
    }
}
