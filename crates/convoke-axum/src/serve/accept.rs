use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The pause after the first failed accept; each further one in a row doubles it.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause. Files come free when connections end, so it is worth asking soon.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Accepts one connection, however often it takes, without ever spinning.
///
/// A peer that left before it was accepted is nothing to us. Anything else (above all: no file descriptors
/// left) would fail again at once, so it is logged and followed by a pause.
pub(super) async fn accept<T, F, A>(mut accept_once: A) -> T
where
    A: FnMut() -> F,
    F: Future<Output = io::Result<T>>,
{
    let mut pause = PAUSE_MIN;
    loop {
        match accept_once().await {
            Ok(accepted) => return accepted,
            Err(error) if is_of_the_peer(&error) => {}
            Err(error) => {
                tracing::error!(%error, ?pause, "accepting a connection failed, will try again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }
}

fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

/// How often refused connections are mentioned: a flood of them must not become a flood of lines.
const REFUSALS_SAID_EVERY: Duration = Duration::from_secs(1);

/// The connections that were closed because too many were open.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Refusals {
    /// Counts one. Says so when it has been a while.
    pub(super) fn add(&mut self, connections_max: usize) {
        self.unsaid += 1;
        if self.said_at.is_none_or(|at| at.elapsed() >= REFUSALS_SAID_EVERY) {
            tracing::warn!(connections_max, refused = self.unsaid, "too many connections, closing new ones");
            self.said_at = Some(Instant::now());
            self.unsaid = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::ready;

    use super::*;

    const EMFILE: i32 = 24;

    #[tokio::test]
    async fn without_file_descriptors_it_pauses_instead_of_spinning() {
        let (started, tries) = (Instant::now(), Cell::new(0));
        accept(|| {
            tries.set(tries.get() + 1);
            ready(if tries.get() <= 2 { Err(io::Error::from_raw_os_error(EMFILE)) } else { Ok(()) })
        })
        .await;
        assert_eq!(tries.get(), 3);
        assert!(started.elapsed() >= PAUSE_MIN * 3, "two pauses, the second twice as long");
    }

    #[tokio::test]
    async fn many_refusals_are_said_once() {
        let mut refusals = Refusals::default();
        refusals.add(1);
        assert_eq!(refusals.unsaid, 0);
        refusals.add(1);
        refusals.add(1);
        assert_eq!(refusals.unsaid, 2);
    }

    #[tokio::test]
    async fn a_peer_that_left_costs_no_pause() {
        let (started, tries) = (Instant::now(), Cell::new(0));
        accept(|| {
            tries.set(tries.get() + 1);
            ready(if tries.get() <= 50 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) })
        })
        .await;
        assert!(started.elapsed() < PAUSE_MIN);
    }
}
