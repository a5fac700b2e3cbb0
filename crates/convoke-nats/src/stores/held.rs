use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use convoke_core::Holder;
use tokio::time::Instant;

use super::decide::{Found, Standing};

/// So many claims of this node are remembered. Completing one beyond that reads it first.
const HELD_MAX: usize = 16 * 1024;
/// How often those whose run ended without a word are looked for when there is no room.
const SWEEP: Duration = Duration::from_secs(1);

/// What this node claimed and last wrote there: who completes it needs not read it first.
#[derive(Debug, Default)]
pub(super) struct Held {
    held: Mutex<Map>,
}

#[derive(Debug, Default)]
struct Map {
    claims: HashMap<String, (Found, Instant)>,
    swept: Option<Instant>,
}

impl Held {
    /// What this node wrote last.
    pub(super) fn keep(&self, name: &str, found: Found) {
        let Some(lease) = found.record.as_ref().map(super::record::Record::lease) else { return };
        let now = Instant::now();
        // a lease beyond all time is swept like one of a day
        let until = now.checked_add(lease).unwrap_or(now + Duration::from_secs(86_400));
        let mut map = self.lock();
        if map.claims.len() >= HELD_MAX && map.swept.is_none_or(|at| now >= at + SWEEP) {
            map.swept = Some(now);
            map.claims.retain(|_, (_, until)| *until > now);
        }
        if map.claims.len() < HELD_MAX || map.claims.contains_key(name) {
            map.claims.insert(name.to_owned(), (found, until));
        }
    }

    /// What this holder wrote last, if that is remembered.
    pub(super) fn take(&self, name: &str, holder: Holder) -> Option<Found> {
        let mut map = self.lock();
        let ours = matches!(map.claims.get(name)?.0.standing(holder), Standing::Holds(_));
        // another run on this node may have taken the key over
        if ours { map.claims.remove(name).map(|(found, _)| found) } else { None }
    }

    fn lock(&self) -> MutexGuard<'_, Map> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use convoke_core::Claim;
    use uuid::Uuid;

    use super::*;
    use crate::stores::record::Record;

    fn found(lease: Duration) -> Found {
        let claim = Claim { owner: Uuid::from_u128(1), message_id: Uuid::nil(), fingerprint: 0, lease };
        Found { revision: 5, at: 0, record: Some(Record::running(&claim, 0, Uuid::nil(), 1)) }
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_not_remembered_until_leases_have_ended() {
        let held = Held::default();
        let holder = Holder { owner: Uuid::from_u128(1), fence: 5 };
        let (short, long) = (Duration::from_secs(5), Duration::from_secs(50));
        for at in 0..HELD_MAX {
            held.keep(&at.to_string(), found(if at == 0 { long } else { short }));
        }
        held.keep("late", found(long));
        assert_eq!(held.take("late", holder), None);
        tokio::time::advance(short).await;
        held.keep("later", found(long));
        assert_eq!(held.take("later", holder), Some(found(long)));
        assert_eq!(held.take("0", holder), Some(found(long)), "its lease holds");
        assert_eq!(held.take("1", holder), None);
        assert!(held.lock().claims.is_empty());
    }

    #[tokio::test]
    async fn another_holder_of_the_key_is_not_served() {
        let held = Held::default();
        held.keep("k", found(SWEEP));
        let holder = Holder { owner: Uuid::from_u128(1), fence: 5 };
        assert_eq!(held.take("k", Holder { fence: 4, ..holder }), None);
        assert_eq!(held.take("k", Holder { owner: Uuid::nil(), ..holder }), None);
        assert_eq!(held.take("k", holder), Some(found(SWEEP)));
        assert_eq!(held.take("k", holder), None, "it was taken");
    }
}
