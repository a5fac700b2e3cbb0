use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::{ConnectInfo, Request};
use convoke_core::Executed;
use http::StatusCode;
use tokio::time::Instant;
use tower::Layer;

use super::{Guard, GuardError, Guarded};
use crate::ProblemDetails;

/// Clients that are told apart. When there are more, those who came last share one allowance.
const CLIENTS_MAX: usize = 65_536;
/// How often a full table is searched for clients that are idle again.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// A layer that limits the requests of each client. Made by [`rate_limit`].
#[derive(Clone)]
pub struct RateLimit {
    table: Arc<Limiter>,
}

/// Lets each client make `burst` requests at once and `per_second` in the long run; more are answered 429 with
/// `Retry-After`.
///
/// A client is an IPv4 address or an IPv6 network of 64 bits, as [`serve`](crate::serve) gives it: behind a proxy,
/// the proxy is the one client. Requests without an address share one allowance.
///
/// # Errors
/// When either is zero, or `per_second` is above 1 000 000.
pub fn rate_limit(per_second: u32, burst: u32) -> Result<RateLimit, GuardError> {
    if per_second == 0 || burst == 0 {
        return Err(GuardError("a rate limit of zero lets nobody in: give at least 1"));
    }
    if per_second > 1_000_000 {
        return Err(GuardError("a rate limit is at most 1000000 requests per second"));
    }
    let rate = Rate::new(per_second, burst);
    let table = Table { rate, clients_max: CLIENTS_MAX, clients: HashMap::new(), shared: None, swept: None };
    Ok(RateLimit { table: Arc::new(Limiter(Mutex::new(table))) })
}

impl<S> Layer<S> for RateLimit {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded { inner, guard: self.table.clone() }
    }
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").finish_non_exhaustive()
    }
}

struct Limiter(Mutex<Table>);

impl Guard for Limiter {
    fn check(&self, request: &Request) -> Result<(), ProblemDetails> {
        let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
        let client = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |ConnectInfo(peer)| network(peer.ip()));
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.take(client, Instant::now()).map_err(|wait| {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            ProblemDetails::new(StatusCode::TOO_MANY_REQUESTS, "more requests than one client may make")
                .code("rate-limited")
                .executed(Executed::No)
                .retry_after(seconds.max(1))
        })
    }
}

/// Who counts as one client: whoever has an IPv6 address has its network's 2^64 as well.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

/// What one client may do.
#[derive(Debug, Clone, Copy)]
struct Rate {
    /// What one request costs.
    interval: Duration,
    /// How far ahead of time a client may be and still make a request.
    ahead_max: Duration,
}

impl Rate {
    fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second;
        Self { interval, ahead_max: interval.saturating_mul(burst - 1) }
    }

    /// Counts a request, or says how long to wait. `paid` is when the requests so far would have been made at the
    /// even rate; a time in the past is as good as none.
    fn take(self, paid: &mut Option<Instant>, now: Instant) -> Result<(), Duration> {
        let from = paid.map_or(now, |paid| paid.max(now));
        let wait = (from - now).saturating_sub(self.ahead_max);
        if !wait.is_zero() {
            return Err(wait);
        }
        *paid = Some(from + self.interval);
        Ok(())
    }
}

struct Table {
    rate: Rate,
    clients_max: usize,
    clients: HashMap<IpAddr, Option<Instant>>,
    /// The one allowance of all for whom there was no place.
    shared: Option<Instant>,
    swept: Option<Instant>,
}

impl Table {
    fn take(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        if !self.clients.contains_key(&client) && self.clients.len() >= self.clients_max {
            self.sweep(now);
            if self.clients.len() >= self.clients_max {
                return self.rate.take(&mut self.shared, now);
            }
        }
        self.rate.take(self.clients.entry(client).or_default(), now)
    }

    /// Forgets clients whose allowance is whole again: they are as good as new.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now < swept + SWEEP_PAUSE) {
            return;
        }
        self.swept = Some(now);
        self.clients.retain(|_, paid| paid.is_some_and(|paid| paid > now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(per_second: u32, burst: u32, clients_max: usize) -> Table {
        let rate = Rate::new(per_second, burst);
        Table { rate, clients_max, clients: HashMap::new(), shared: None, swept: None }
    }

    fn client(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_even_rate() {
        let (mut table, now) = (table(10, 3, 8), Instant::now());
        assert_eq!((0..9).filter(|_| table.take(client(1), now).is_ok()).count(), 3);
        assert_eq!(table.take(client(1), now), Err(Duration::from_millis(100)));
        assert_eq!(table.take(client(1), now + Duration::from_millis(99)), Err(Duration::from_millis(1)));
        let later = now + Duration::from_secs(1);
        assert_eq!(
            (0..9).filter(|_| table.take(client(1), later).is_ok()).count(),
            3,
            "no more than the burst"
        );
    }

    #[test]
    fn each_client_has_an_allowance_of_its_own() {
        let (mut table, now) = (table(1, 1, 8), Instant::now());
        assert!(table.take(client(1), now).is_ok());
        assert!(table.take(client(1), now).is_err());
        assert!(table.take(client(2), now).is_ok());
    }

    #[test]
    fn a_full_table_makes_newcomers_share_until_others_are_idle() {
        let (mut table, now) = (table(1, 1, 4), Instant::now());
        assert!((0..4).all(|n| table.take(client(n), now).is_ok()));
        assert!(table.take(client(4), now).is_ok(), "the shared allowance");
        assert!(table.take(client(5), now).is_err(), "is one");
        assert_eq!(table.clients.len(), 4);
        let later = now + Duration::from_secs(2);
        assert!(table.take(client(4), later).is_ok());
        assert!(table.take(client(5), later).is_ok());
        assert_eq!(table.clients.len(), 2, "the idle ones are forgotten");
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_a_mapped_ipv4_address_is_itself() {
        let parse = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:2"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }
}
