//! What openraft and a node run on: Tokio. In tests, what Tokio leaves to chance can be told to repeat.

#[cfg(not(test))]
pub(crate) use openraft_rt_tokio::TokioRuntime as Runtime;
#[cfg(not(test))]
pub(crate) use tokio::sync::watch;

#[cfg(test)]
pub(crate) use ordered::watch;
#[cfg(test)]
pub(crate) use seeded::Runtime;

#[cfg(test)]
mod ordered;

#[cfg(test)]
pub(crate) mod seeded {
    use std::{cell::Cell, io, time::Duration};

    use openraft_rt::{AsyncRuntime, OptionalSend};
    use openraft_rt_tokio::TokioRuntime;
    use rand::{Rng, SeedableRng, rngs::SmallRng};

    thread_local! {
        static DRAWS: Cell<Option<u64>> = const { Cell::new(None) };
    }

    /// Tokio, with random numbers that follow from a seed on threads that have one.
    #[derive(Debug)]
    pub(crate) struct Runtime(TokioRuntime);

    /// From now on all that openraft draws on this thread follows from `seed`; without one, nothing does.
    pub(crate) fn seed(seed: Option<u64>) {
        DRAWS.set(seed);
    }

    impl AsyncRuntime for Runtime {
        type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
        type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
        type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
        type Instant = <TokioRuntime as AsyncRuntime>::Instant;
        type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
        type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
        type ThreadLocalRng = SmallRng;
        type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
        type Watch = super::ordered::Watch;
        type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
        type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

        fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
        where
            T: Future + OptionalSend + 'static,
            T::Output: OptionalSend + 'static,
        {
            TokioRuntime::spawn(future)
        }

        fn sleep(duration: Duration) -> Self::Sleep {
            TokioRuntime::sleep(duration)
        }

        fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
            TokioRuntime::sleep_until(deadline)
        }

        fn timeout<R, F: Future<Output = R> + OptionalSend>(
            within: Duration,
            future: F,
        ) -> Self::Timeout<R, F> {
            TokioRuntime::timeout(within, future)
        }

        fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
            deadline: Self::Instant,
            future: F,
        ) -> Self::Timeout<R, F> {
            TokioRuntime::timeout_at(deadline, future)
        }

        fn is_panic(error: &Self::JoinError) -> bool {
            TokioRuntime::is_panic(error)
        }

        fn thread_rng() -> SmallRng {
            let Some(seed) = DRAWS.get() else { return SmallRng::seed_from_u64(rand::rng().next_u64()) };
            let mut rng = SmallRng::seed_from_u64(seed);
            DRAWS.set(Some(rng.next_u64()));
            rng
        }

        fn new(threads: usize) -> Self {
            Self(TokioRuntime::new(threads))
        }

        fn block_on<F, T>(&mut self, future: F) -> T
        where
            F: Future<Output = T>,
        {
            self.0.block_on(future)
        }

        fn spawn_blocking<F, T>(work: F) -> impl Future<Output = Result<T, io::Error>> + Send
        where
            F: FnOnce() -> T + Send + 'static,
            T: Send + 'static,
        {
            TokioRuntime::spawn_blocking(work)
        }
    }

    #[test]
    fn a_seed_repeats_what_openraft_draws_and_no_seed_repeats_nothing() {
        let draws = |with: Option<u64>| {
            seed(with);
            [Runtime::thread_rng().next_u64(), Runtime::thread_rng().next_u64()]
        };
        assert_eq!(draws(Some(7)), draws(Some(7)));
        assert_ne!(draws(Some(7)), draws(Some(8)));
        assert_ne!(draws(None), draws(None));
        let [first, second] = draws(Some(7));
        assert_ne!(first, second);
        seed(None);
    }
}
