//! Watches the connection, and makes sure that the server holds what a node needs whenever there is one.

use std::{sync::Arc, time::Duration};

use convoke_core::{Finding, Severity};
use serde_json::Value;

use crate::{
    Config, Error,
    api::{self, ApiError},
    check::{self, Account},
    declare,
    inbox::Inbox,
    jitter,
    link::{Link, Trouble},
    names::Names,
    presence::Presence,
    tally::Tally,
    vitals::{Standing, Vitals, refused_credentials, unreachable},
};

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
        let account = self.check_jetstream(seen).await?;
        let mut findings = check::of_server(&self.link, &self.config);
        findings.extend(check::of_account(&account, &self.config));
        if let Some(refusal) = Finding::refusal(&findings).filter(|_| !seen.declared) {
            return Err(Error::refused(refusal));
        }
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
            findings.extend(check::of_stream(&wanted, &declared.stream));
        }
        if !seen.declared {
            let worth_telling = findings.iter().filter(|finding| finding.severity > Severity::Fine);
            worth_telling.for_each(|finding| tracing::warn!("{finding}"));
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
        Finding::refusal(&[check::of_version(&info.version)]).map_or(Ok(()), |why| Err(Error::refused(why)))
    }

    async fn check_jetstream(&self, seen: &mut Seen) -> Result<Account, Error> {
        let error = match self.inbox.api::<Account>("INFO", &Value::Null).await {
            Ok(account) => {
                seen.no_api = 0;
                return Ok(account);
            }
            Err(error) => error,
        };
        let refused = matches!(error.err_code(), api::NOT_ENABLED | api::NOT_ENABLED_FOR_ACCOUNT);
        if error.is_no_api() && !seen.declared {
            seen.no_api += 1;
        }
        if !seen.declared && (refused || seen.no_api >= NO_API_MAX) {
            return Err(Error::refused(check::off().to_string()));
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
