//! The connection: always there as a value, whether or not a server is.

use std::{sync::Arc, sync::Weak, sync::atomic::Ordering, time::Duration};

use async_nats::{Client, Event, connection::State, jetstream};
use tokio::{sync::watch, time::Instant};

use crate::{
    Config, Error,
    troubles::{self, Troubles},
};

/// How often the client's state is compared with what its events said; it drops events in a storm.
const RECONCILE: Duration = Duration::from_millis(250);
/// Longest answer of a server to a JetStream request made through [`Link::jetstream`].
const API_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is kept, or tried for ever.
#[derive(Debug)]
pub(crate) struct Link {
    client: Client,
    jetstream: jetstream::Context,
    servers: String,
    state: Arc<watch::Sender<LinkState>>,
    troubles: Arc<Troubles>,
}

/// How the connection stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LinkState {
    pub(crate) connected: bool,
    /// How often it broke. Another number means that what was in flight is lost.
    pub(crate) breaks: u64,
    /// The last reason why it could not be made.
    pub(crate) trouble: Option<Trouble>,
}

/// Why a connection could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The server does not accept us.
    Credentials,
    /// Anything else, in async-nats' words.
    Other(String),
}

impl Link {
    /// Checks the configuration and starts to connect.
    ///
    /// # Errors
    /// When the configuration cannot work. A server that is away is no error.
    pub(crate) async fn connect(config: &Config) -> Result<Arc<Self>, Error> {
        let servers = config.check()?;
        let state = Arc::new(watch::Sender::new(LinkState::default()));
        let troubles = Arc::new(Troubles::default());
        let (told, heard) = (Arc::clone(&state), Arc::clone(&troubles));
        let options = config.options()?.event_callback(move |event| {
            note(&told, &heard, event);
            std::future::ready(())
        });
        let client = options.connect(servers).await.map_err(|err| {
            Error::config(format!("the connection to NATS at {} cannot be set up: {err}", config.servers()))
        })?;
        let jetstream = jetstream::ContextBuilder::new().timeout(API_TIMEOUT).build(client.clone());
        let link = Arc::new(Self { client, jetstream, servers: config.servers(), state, troubles });
        tokio::spawn(reconcile(Arc::downgrade(&link)));
        Ok(link)
    }

    /// The client. Its own `request` is not for us: it leaks an entry for each timeout and can hang.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream through the client; put a deadline around each call.
    pub(crate) fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The servers' addresses, for people.
    pub(crate) fn servers(&self) -> &str {
        &self.servers
    }

    /// What went wrong and was borne.
    pub(crate) fn troubles(&self) -> &Troubles {
        &self.troubles
    }

    /// Whether there is a connection now.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Tells each change.
    pub(crate) fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.subscribe()
    }

    /// Waits for a connection; whether there is one.
    pub(crate) async fn connected_by(&self, deadline: Instant) -> bool {
        let mut state = self.watch();
        tokio::time::timeout_at(deadline, state.wait_for(|state| state.connected)).await.is_ok()
    }
}

fn note(state: &watch::Sender<LinkState>, troubles: &Troubles, event: Event) {
    match event {
        Event::Connected => state.send_modify(|state| {
            state.connected = true;
            state.trouble = None;
        }),
        Event::Disconnected => state.send_modify(|state| {
            state.connected = false;
            state.breaks += 1;
        }),
        Event::Closed => state.send_modify(|state| state.connected = false),
        Event::ClientError(error) => {
            let text = error.to_string();
            let refused = text.contains("authorization violation") || text.contains("signing nonce");
            let trouble = if refused { Trouble::Credentials } else { Trouble::Other(text) };
            state.send_if_modified(|state| {
                let news = state.trouble.as_ref() != Some(&trouble);
                state.trouble = Some(trouble);
                news
            });
        }
        Event::SlowConsumer(sid) => {
            tracing::warn!(sid, "messages were dropped: a subscription was not read fast enough");
            troubles.tell(
                troubles::Trouble::Dropped,
                "messages were dropped because they were not read fast enough: add nodes, or processors to this one",
            );
        }
        Event::ServerError(error) => tracing::warn!(%error, "the NATS server reported an error"),
        Event::LameDuckMode | Event::Draining => {}
    }
}

async fn reconcile(link: Weak<Link>) {
    loop {
        let Some(link) = link.upgrade() else { return };
        let connected = link.is_connected();
        let connects = link.client.statistics().connects.load(Ordering::Relaxed);
        link.state.send_if_modified(|state| {
            let breaks = state.breaks.max(connects.saturating_sub(1));
            let news = (state.connected, state.breaks) != (connected, breaks);
            (state.connected, state.breaks) = (connected, breaks);
            news
        });
        drop(link);
        tokio::time::sleep(RECONCILE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_message_is_counted_and_told() {
        let (state, troubles) = (watch::Sender::new(LinkState::default()), Troubles::default());
        note(&state, &troubles, Event::SlowConsumer(7));
        note(&state, &troubles, Event::SlowConsumer(7));
        assert_eq!(troubles.counters().messages_dropped, 2);
        assert!(troubles.lately()[0].contains("not read fast enough"), "{:?}", troubles.lately());
        assert!(!state.borrow().connected, "the link is as it was");
    }
}
