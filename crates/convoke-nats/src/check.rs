//! Looks at a server without changing anything: what a node would find at its start, and more.

mod account;
mod consumers;
mod server;
mod stream;

use std::{sync::Arc, time::Duration};

use convoke_core::Finding;
use futures_util::future::join_all;
use serde_json::Value;
use tokio::time::{Instant, timeout, timeout_at};

pub(crate) use account::Account;
pub(crate) use stream::of_stream;

use crate::{
    Config, Error, StoresConfig,
    api::{self, ApiError},
    declare::{self, Stream},
    inbox::Inbox,
    link::{Link, LinkState, Trouble},
    names::{Names, Source},
    stores,
};

/// How long the server may take to let us in.
const CONNECT_WAIT: Duration = Duration::from_secs(3);
/// How long the streams may take to answer.
const ANSWER_WAIT: Duration = Duration::from_millis(1500);

/// Compares a server with what nodes of this configuration need, and changes nothing.
///
/// `stores` says whose namespace it is, and how its buckets are declared. What is fine is told as well.
///
/// # Errors
/// When the configuration cannot work, or the server cannot be asked.
pub async fn check(config: &Config, stores: &StoresConfig) -> Result<Vec<Finding>, Error> {
    let names = Names::of_namespace(&stores.namespace)?;
    let wanted: Vec<Value> = declare::streams(config, &names)
        .into_iter()
        .chain(stores::declared(stores, config.copies()))
        .collect();
    let (link, inbox) = connect(config).await?;
    let mut findings = of_server(&link, config);
    let account = match inbox.api::<Account>("INFO", &Value::Null).await {
        Ok(account) => account,
        Err(error) if is_off(&error) => {
            findings.push(off());
            return Ok(findings);
        }
        Err(error) => return Err(unanswered(&error)),
    };
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    let mut of_streams = Vec::new();
    for (declaration, answer) in ask_for(&inbox, wanted).await {
        let name = declaration["name"].as_str().unwrap_or_default();
        match answer {
            Some(Ok(stream)) => {
                there.push(name.to_owned());
                of_streams.extend(stream::examine(&declaration, &stream));
            }
            Some(Err(error)) if error.err_code() == api::STREAM_NOT_FOUND => {
                of_streams.push(stream::missing(name));
                missing.push(declaration);
            }
            Some(Err(error)) => of_streams.push(stream::silent(name, &error.to_string())),
            None => of_streams.push(stream::silent(name, "no answer in time")),
        }
    }
    findings.extend(account::examine(&account, &missing, config));
    findings.extend(of_streams);
    for source in [Source::Events, Source::Jobs, Source::Due, Source::Replays] {
        let stream = names.stream(source);
        if there.contains(&stream) {
            findings.extend(consumers::examine(&inbox, &stream, config).await?);
        }
    }
    Ok(findings)
}

type Answered = Option<Result<Stream, ApiError>>;

/// All at once: a stream without a leader does not answer.
async fn ask_for(inbox: &Inbox, wanted: Vec<Value>) -> Vec<(Value, Answered)> {
    let deadline = Instant::now() + ANSWER_WAIT;
    let asked = wanted.into_iter().map(async |declaration| {
        let verb = format!("STREAM.INFO.{}", declaration["name"].as_str().unwrap_or_default());
        let answer = timeout_at(deadline, inbox.api::<Stream>(&verb, &Value::Null)).await.ok();
        (declaration, answer)
    });
    join_all(asked).await
}

/// What the server says of itself, and what it does not say.
pub(crate) fn of_server(link: &Link, config: &Config) -> Vec<Finding> {
    let Some(info) = link.client().try_server_info() else { return Vec::new() };
    let mut findings = vec![server::version(&info.version)];
    findings.extend(server::max_payload(info.max_payload, config));
    findings.extend(server::clustered(info.cluster.as_deref(), config));
    findings.push(server::fsync(config));
    findings.extend(server::duplicate_window(config));
    findings
}

/// What the account allows, for a node whose streams are all there.
pub(crate) fn of_account(account: &Account, config: &Config) -> Vec<Finding> {
    account::examine(account, &[], config)
}

/// The version alone: what is asked of an old server may not be understood.
pub(crate) fn of_version(version: &str) -> Finding {
    server::version(version)
}

/// Whether an answer means that there is no JetStream.
fn is_off(error: &ApiError) -> bool {
    let refused = matches!(error.err_code(), api::NOT_ENABLED | api::NOT_ENABLED_FOR_ACCOUNT);
    refused || error.is_no_api()
}

pub(crate) fn off() -> Finding {
    Finding::error("nats", "JetStream is off")
        .remedy("start the server with `-js`, or enable JetStream for the account")
}

fn unanswered(error: &ApiError) -> Error {
    Error::unavailable(format!("JetStream does not answer ({error}): look at the NATS server's log"))
}

/// A connection that is there, or why there is none.
async fn connect(config: &Config) -> Result<(Arc<Link>, Inbox), Error> {
    let link = Link::connect(config).await?;
    reach(&link, config, CONNECT_WAIT).await?;
    let opened = timeout(CONNECT_WAIT, Inbox::open(Arc::clone(&link))).await;
    let inbox = opened.map_err(|_| unreachable(config, None, CONNECT_WAIT))??;
    Ok((link, inbox))
}

/// Waits for the connection, or for what will not pass.
pub(crate) async fn reach(link: &Link, config: &Config, wait: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + wait;
    let decided = |state: &LinkState| state.connected || state.trouble == Some(Trouble::Credentials);
    let mut state = link.watch();
    drop(timeout_at(deadline, state.wait_for(decided)).await); // the state tells
    let state = state.borrow().clone();
    if state.connected { Ok(()) } else { Err(unreachable(config, state.trouble, wait)) }
}

fn unreachable(config: &Config, trouble: Option<Trouble>, wait: Duration) -> Error {
    let servers = config.servers();
    match trouble {
        Some(Trouble::Credentials) => Error::refused(crate::vitals::refused_credentials(&servers)),
        Some(Trouble::Other(why)) => {
            let why = why.strip_prefix("nats: ").unwrap_or(&why).to_owned();
            Error::unavailable(format!(
                "NATS cannot be reached at {servers} ({why}): start it or correct the address"
            ))
        }
        None => Error::unavailable(format!(
            "NATS at {servers} does not answer within {} s: look at its log, or correct the address",
            wait.as_secs()
        )),
    }
}
