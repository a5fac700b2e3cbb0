//! Tells a witness outside the nodes what was done, so that somebody can count it.
use std::{fmt, sync::Arc, time::Duration};

use reqwest::{Client, Url};
use tracing::warn;
use uuid::Uuid;

use crate::OrderId;

/// How long the witness may take for one report.
const REPORT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often one report is tried.
const TRIES_MAX: u32 = 3;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// Something that was done.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// An order was stored.
    Order(OrderId),
    /// An order was shipped.
    Ship(OrderId),
    /// An event was handled by a node.
    Event(Uuid),
}

/// Reports effects by `POST {url}/effect?kind=order|ship|event&id=..&node=..`, or nowhere.
#[derive(Clone, Default)]
pub struct Effects(Option<Arc<Witness>>);

struct Witness {
    client: Client,
    url: Url,
}

/// A report did not arrive, or was refused.
#[derive(Debug, thiserror::Error)]
#[error("the effect could not be reported")]
pub struct EffectError(#[source] reqwest::Error);

impl Effects {
    /// Reports to `url`.
    ///
    /// # Errors
    /// A sentence, when it is not an address of a web server.
    pub fn to(url: &str) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!("{url:?} is no address for effects ({why}): write it like http://127.0.0.1:9000")
        };
        let mut parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        if parsed.scheme() != "http" {
            return Err(wrong("its scheme is not http"));
        }
        let path = format!("{}/effect", parsed.path().trim_end_matches('/'));
        parsed.set_path(&path);
        let client =
            Client::builder().timeout(REPORT_TIMEOUT).build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Self(Some(Arc::new(Witness { client, url: parsed }))))
    }

    /// Reports one effect, a few times if need be.
    ///
    /// # Errors
    /// When it did not arrive.
    pub async fn report(&self, effect: Effect, node: &str, key: Option<&str>) -> Result<(), EffectError> {
        let Some(witness) = &self.0 else { return Ok(()) };
        let (kind, id) = effect.name();
        let mut url = witness.url.clone();
        url.query_pairs_mut().append_pair("kind", kind).append_pair("id", &id).append_pair("node", node);
        if let Some(key) = key {
            url.query_pairs_mut().append_pair("key", key);
        }
        let mut tries = 1;
        loop {
            let answer = witness.client.post(url.clone()).send().await;
            match answer.and_then(reqwest::Response::error_for_status) {
                Ok(_) => return Ok(()),
                Err(error) if tries == TRIES_MAX => return Err(EffectError(error)),
                Err(_) => tries += 1,
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The same where the effect counts and the report does not: a failure is logged.
    pub async fn mention(&self, effect: Effect, node: &str, key: Option<&str>) {
        if let Err(error) = self.report(effect, node, key).await {
            warn!(node, ?effect, %error, "an effect went unreported");
        }
    }
}

impl Effect {
    fn name(self) -> (&'static str, String) {
        match self {
            Self::Order(id) => ("order", id.to_string()),
            Self::Ship(id) => ("ship", id.to_string()),
            Self::Event(id) => ("event", id.to_string()),
        }
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Effects").field(&self.0.as_ref().map(|witness| witness.url.as_str())).finish()
    }
}
