use std::time::Duration;

use crate::Limits;

/// How a node works. Every value has a default that suits a small service.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// Environment or tenant; the first token of every subject. Letters, digits, `-`, `_`. Default: `convoke`.
    pub namespace: String,
    /// How long `send` and `query` wait unless told otherwise. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub request_timeout: Duration,
    /// How long one run of a handler may take; a caller's deadline shortens it. Default: 30 s.
    #[serde(with = "crate::duration")]
    pub handler_timeout: Duration,
    /// Runs of one handler at once. At least 1. Default: 256.
    pub concurrency: usize,
    /// Requests per handler that wait for a run; more are answered `Overloaded`. Default: 1024.
    pub queue_max: usize,
    /// Events per consumer that were received and not settled. At least 1. Default: 256.
    pub in_flight_max: usize,
    /// How long a claim holds without renewal. It is renewed at a third of it. Default: 6 s.
    #[serde(with = "crate::duration")]
    pub lease: Duration,
    /// How long outcomes of idempotent commands are kept. Default: 24 h.
    #[serde(with = "crate::duration")]
    pub retention: Duration,
    /// Runs of an event handler that may fault before the event is dead-lettered. At least 1. Default: 5.
    pub attempts_max: u32,
    /// The pause after the first faulted run of an event handler; it doubles with each. Default: 200 ms.
    #[serde(with = "crate::duration")]
    pub backoff: Duration,
    /// The longest such pause. Default: 30 s.
    #[serde(with = "crate::duration")]
    pub backoff_max: Duration,
    /// How long one attempt of a `send` of an idempotent command waits before it is repeated under the same
    /// key. Default: 3 s.
    #[serde(with = "crate::duration")]
    pub attempt_timeout: Duration,
    /// How long a request for the leader waits while there is none, as during an election. Never longer than the
    /// request itself may. Default: 2 s.
    #[serde(with = "crate::duration")]
    pub leader_wait: Duration,
    /// How long a request that was forwarded to the leader may take. Never longer than the request itself may.
    /// Default: 30 s.
    #[serde(with = "crate::duration")]
    pub forward_timeout: Duration,
    /// How long a stopping node waits for what runs. Default: 10 s.
    #[serde(with = "crate::duration")]
    pub leave_timeout: Duration,
    /// Messages of a service that may wait in its outbox while the broker is away. Beyond that, handlers that
    /// stage messages take no new work. At least 1. Default: 100,000.
    pub outbox_max: usize,
    /// How often a node looks for messages that another one left in the outbox. At least 10 ms. Default: 2 s.
    #[serde(with = "crate::duration")]
    pub outbox_sweep: Duration,
    /// Bounds for what is decoded.
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            namespace: "convoke".to_owned(),
            request_timeout: Duration::from_secs(10),
            handler_timeout: Duration::from_secs(30),
            concurrency: 256,
            queue_max: 1024,
            in_flight_max: 256,
            lease: Duration::from_secs(6),
            retention: Duration::from_hours(24),
            attempts_max: 5,
            backoff: Duration::from_millis(200),
            backoff_max: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(3),
            leader_wait: Duration::from_secs(2),
            forward_timeout: Duration::from_secs(30),
            leave_timeout: Duration::from_secs(10),
            outbox_max: 100_000,
            outbox_sweep: Duration::from_secs(2),
            limits: Limits::default(),
        }
    }
}

impl Config {
    /// What is wrong with it, each as a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(format!("configuration: {text}"));
            }
        };
        check(is_name(&self.namespace), "`namespace` has letters, digits, `-` and `_` only, 1 to 64 of them");
        check(self.concurrency >= 1, "`concurrency` is at least 1");
        check(self.in_flight_max >= 1, "`in_flight_max` is at least 1");
        check(self.attempts_max >= 1, "`attempts_max` is at least 1");
        check(self.lease >= Duration::from_millis(100), "`lease` is at least 100 ms");
        check(self.outbox_max >= 1, "`outbox_max` is at least 1");
        check(self.outbox_sweep >= Duration::from_millis(10), "`outbox_sweep` is at least 10 ms");
        check(!self.request_timeout.is_zero(), "`request_timeout` is more than zero");
        check(!self.forward_timeout.is_zero(), "`forward_timeout` is more than zero");
        check(!self.handler_timeout.is_zero(), "`handler_timeout` is more than zero");
        problems
    }
}

/// Whether a text can be a token of subjects and consumer names.
pub(crate) fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&text.len()) && text.bytes().all(fits)
}
