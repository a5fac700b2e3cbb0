use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering},
};

/// Copies of something that many threads touch at once: each thread has one that it shares with few others, so that
/// no cache line goes to and fro between cores.
#[derive(Debug)]
pub(crate) struct Spread<T>([Apart<T>; COPIES]);

/// More than most machines have cores that send at the same time.
const COPIES: usize = 16;

/// Has its cache lines for itself.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T> Spread<T> {
    pub(crate) fn from_fn(mut make: impl FnMut() -> T) -> Self {
        Self(std::array::from_fn(|_| Apart(make())))
    }

    /// The copy of this thread.
    pub(crate) fn here(&self) -> &T {
        &self.0[place()].0
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|apart| &apart.0)
    }
}

impl<T: Default> Default for Spread<T> {
    fn default() -> Self {
        Self::from_fn(T::default)
    }
}

/// Threads take places in turn.
fn place() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static PLACE: Cell<usize> = const { Cell::new(COPIES) });
    PLACE.with(|place| {
        if place.get() == COPIES {
            place.set(NEXT.fetch_add(1, Ordering::Relaxed) % COPIES);
        }
        place.get()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_keeps_its_copy_and_another_one_has_another() {
        let spread: Spread<AtomicUsize> = Spread::default();
        let ours = std::ptr::from_ref(spread.here()).addr();
        assert_eq!(ours, std::ptr::from_ref(spread.here()).addr());
        let mut copies: Vec<_> = (1..COPIES)
            .map(|_| {
                std::thread::scope(|scope| {
                    scope.spawn(|| std::ptr::from_ref(spread.here()).addr()).join().expect("no panic")
                })
            })
            .chain([ours])
            .collect();
        copies.sort_unstable();
        copies.dedup();
        assert!(copies.len() > 1, "other tests' threads may take places, too");
        assert!(copies.windows(2).all(|pair| pair[1] - pair[0] >= 128), "no two share a cache line");
        assert_eq!(spread.all().count(), COPIES);
    }
}
