//! How the transport stands, put together from its parts.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use convoke_core::TransportHealth;
use tokio::sync::{Notify, watch};

use crate::link::{Link, Trouble};

/// What the server was last seen to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not known yet, or not any more.
    Unknown,
    /// The streams are there, and the node id is ours.
    Ready,
    /// Not now, and why.
    Trouble(String),
    /// For good, and why.
    Failed(String),
}

#[derive(Debug)]
pub(crate) struct Vitals {
    standing: watch::Sender<Standing>,
    recheck: Notify,
    /// Consumers that do not run, and why.
    idle_consumers: Mutex<BTreeMap<String, String>>,
}

impl Vitals {
    pub(crate) fn new() -> Self {
        Self {
            standing: watch::Sender::new(Standing::Unknown),
            recheck: Notify::new(),
            idle_consumers: Mutex::default(),
        }
    }
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }
    pub(crate) fn set(&self, standing: Standing) {
        self.standing.send_if_modified(|known| {
            // what is wrong for good stays so
            let news = !matches!(known, Standing::Failed(_)) && *known != standing;
            if news {
                *known = standing;
            }
            news
        });
    }
    /// Somebody saw a stream missing.
    pub(crate) fn recheck(&self) {
        self.recheck.notify_one();
    }
    pub(crate) async fn recheck_wanted(&self) {
        self.recheck.notified().await;
    }
    pub(crate) fn consumer_runs(&self, name: &str) {
        self.consumers().remove(name);
    }
    pub(crate) fn consumer_waits(&self, name: &str, why: impl Into<String>) {
        self.consumers().insert(name.to_owned(), why.into());
    }
    fn consumers(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.idle_consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn health(&self, link: &Link) -> TransportHealth {
        let standing = self.standing.borrow().clone();
        if let Standing::Failed(why) = standing {
            return TransportHealth::Failed(why);
        }
        if !link.is_connected() {
            return TransportHealth::Down(unreachable(link));
        }
        match standing {
            Standing::Ready => match self.consumers().first_key_value() {
                None => TransportHealth::Up,
                Some((name, why)) => {
                    TransportHealth::Down(format!("the consumer {name} does not run: {why}"))
                }
            },
            Standing::Trouble(why) => TransportHealth::Down(why),
            _ => TransportHealth::Down("NATS is connected, its streams are not checked yet".to_owned()),
        }
    }
}

/// What to do when there is no connection.
pub(crate) fn unreachable(link: &Link) -> String {
    let servers = link.servers();
    match &link.watch().borrow().trouble {
        Some(Trouble::Credentials) => refused_credentials(servers),
        Some(Trouble::Other(why)) => {
            let why = why.strip_prefix("nats: ").unwrap_or(why);
            format!(
                "NATS cannot be reached at {servers} ({why}): start it or correct the address; connecting goes on"
            )
        }
        None => format!(
            "NATS cannot be reached at {servers}: start it or correct the address; connecting goes on"
        ),
    }
}

pub(crate) fn refused_credentials(servers: &str) -> String {
    format!("NATS at {servers} refused the credentials: correct the user, token, key or credentials file")
}
