//! Watches the connection, and makes sure that the server holds what a node needs whenever there is one.

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    Config, Error,
    api::{self, ApiError},
    declare,
    inbox::Inbox,
    jitter,
    link::{Link, Trouble},
    names::Names,
    presence::Presence,
    tally::Tally,
    vitals::{Standing, Vitals, refused_credentials, unreachable},
};

/// The oldest server whose streams survive what Convoke promises to survive.
const SERVER_MIN: [u64; 3] = [2, 12, 3];
/// Pause between two looks at a server that is not ready.
const PAUSE: Duration = Duration::from_millis(500);
/// How often a node looks whether its id is still its own, beside the times when it hears of another one.
const LOOK: Duration = Duration::from_secs(30);
/// A server without JetStream is asked so often before it counts as one that has none.
const NO_API_MAX: u32 = 4;

pub(crate) struct Supervisor {
    pub(crate) link: Arc<Link>,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) vitals: Arc<Vitals>,
    pub(crate) config: Config,
    pub(crate) names: Names,
    pub(crate) instance: String,
    pub(crate) tally: Arc<Tally>,
}

/// What is known from earlier looks.
#[derive(Default)]
struct Seen {
    presence: Option<Presence>,
    /// The streams were there once.
    declared: bool,
    /// The last reason that was logged.
    told: Option<String>,
    no_api: u32,
}

impl Supervisor {
    pub(crate) async fn run(self) {
        let mut state = self.link.watch();
        let mut seen = Seen::default();
        loop {
            let now = state.borrow_and_update().clone();
            if now.connected {
                match self.look(&mut seen).await {
                    Ok(()) => {
                        self.up(&mut seen);
                        tokio::select! {
                            _ = state.changed() => continue,
                            () = self.vitals.recheck_wanted() => continue,
                            error = self.guard(&mut seen) => return self.fail(error.to_string()),
                        }
                    }
                    Err(error) if error.is_permanent() => return self.fail(error.to_string()),
                    Err(error) => self.down(&mut seen, error.to_string()),
                }
            } else if now.trouble == Some(Trouble::Credentials) && !seen.declared {
                return self.fail(refused_credentials(self.link.servers()));
            } else if now.breaks > 0 || now.trouble.is_some() {
                self.down(&mut seen, unreachable(&self.link));
            }
            if now.connected {
                drop(tokio::time::timeout(jitter::shortened(PAUSE), state.changed()).await);
            } else if state.changed().await.is_err() {
                return;
            }
        }
    }

    /// Whether everything is as it should be.
    async fn look(&self, seen: &mut Seen) -> Result<(), Error> {
        self.check_version()?;
        self.check_jetstream(seen).await?;
        for wanted in declare::streams(&self.config, &self.names) {
            let declared = declare::declare(&self.inbox, &wanted).await?;
            let name = wanted["name"].as_str().unwrap_or_default();
            match (declared.made, seen.declared) {
                (true, true) => {
                    tracing::error!(name, "the stream was gone and is declared anew: what it held is lost");
                }
                (true, false) => tracing::info!(name, "the stream was declared"),
                (false, _) => {}
            }
        }
        seen.declared = true;
        match &mut seen.presence {
            Some(presence) => self.still_ours(presence).await,
            None => {
                let claim = Presence::claim(&self.link, &self.inbox, &self.names, &self.instance);
                seen.presence = Some(claim.await?);
                Ok(())
            }
        }
    }

    /// Ends when another node took over the id. While the server does not say, the node goes on.
    async fn guard(&self, seen: &mut Seen) -> Error {
        loop {
            let Some(presence) = &mut seen.presence else { return std::future::pending().await };
            drop(tokio::time::timeout(jitter::shortened(LOOK), presence.challenged()).await);
            while let Err(error) = self.still_ours(presence).await {
                if error.is_permanent() {
                    return error;
                }
                tokio::time::sleep(jitter::shortened(PAUSE)).await;
            }
        }
    }

    /// A node whose id was taken stops its work at once: the other one does it.
    async fn still_ours(&self, presence: &mut Presence) -> Result<(), Error> {
        let checked = presence.check().await;
        if checked.as_ref().is_err_and(Error::is_permanent) {
            self.tally.leaving.set();
        }
        checked
    }

    fn check_version(&self) -> Result<(), Error> {
        let Some(info) = self.link.client().try_server_info() else { return Ok(()) };
        if is_new_enough(&info.version) {
            return Ok(());
        }
        Err(Error::refused(format!(
            "the NATS server is version {}: use 2.12.3 or later, earlier ones lose what they confirmed",
            info.version
        )))
    }

    async fn check_jetstream(&self, seen: &mut Seen) -> Result<(), Error> {
        let off = || {
            Error::refused(
                "JetStream is off in the NATS server: start it with `-js`, or enable it for the account",
            )
        };
        let error = match self.inbox.api::<Value>("INFO", &Value::Null).await {
            Ok(_) => {
                seen.no_api = 0;
                return Ok(());
            }
            Err(error) => error,
        };
        let refused = matches!(error.err_code(), api::NOT_ENABLED | api::NOT_ENABLED_FOR_ACCOUNT);
        if error.is_no_api() && !seen.declared {
            seen.no_api += 1;
        }
        if !seen.declared && (refused || seen.no_api >= NO_API_MAX) {
            return Err(off());
        }
        Err(Error::unavailable(match error {
            ApiError::Answer(answer) => format!("JetStream is not ready: {}", answer.description),
            ApiError::Transport(error) => {
                format!("JetStream does not answer ({error}): look at the NATS server's log")
            }
        }))
    }

    fn up(&self, seen: &mut Seen) {
        if seen.told.take().is_some() {
            tracing::info!(servers = self.link.servers(), "NATS is back");
        }
        self.vitals.set(Standing::Ready);
    }

    fn down(&self, seen: &mut Seen, why: String) {
        if seen.told.is_none() {
            tracing::warn!("{why}");
            seen.told = Some(why.clone());
        }
        self.vitals.set(Standing::Trouble(why));
    }

    fn fail(&self, why: String) {
        tracing::error!("{why}");
        self.vitals.set(Standing::Failed(why));
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version: [u64; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    version >= SERVER_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_lose_what_they_confirmed_are_too_old() {
        for version in ["2.9.10", "2.12.2", "2.12.0-RC.1", "1.4.1", "", "nonsense"] {
            assert!(!is_new_enough(version), "{version:?}");
        }
        for version in ["2.12.3", "2.15.1", "2.14.0-beta.1", "3.0.0"] {
            assert!(is_new_enough(version), "{version:?}");
        }
    }
}
