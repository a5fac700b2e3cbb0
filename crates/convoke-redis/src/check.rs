//! Whether a server is one we can work with.

mod server;

use std::collections::HashMap;
use std::sync::Arc;

use convoke_core::Finding;
use redis::{Client, ErrorKind, RedisError};

use crate::config::Config;
use crate::error::{Error, Verdict, verdict};
use crate::keys::Keys;
use crate::link::{Link, Operation};
use server::{SETTINGS, Server};

/// Compares a server with what nodes of this configuration need, and changes nothing. What is fine is told as well.
///
/// # Errors
/// When the configuration cannot work, or no server can be asked.
pub async fn check(config: &Config) -> Result<Vec<Finding>, Error> {
    config.validate()?;
    let keys = Keys::new(&config.key_prefix, config.partitions);
    let link = Link::new(config, keys.channel(), Arc::default())?;
    let mut findings = of_servers(&link).await?;
    if !findings.iter().any(Finding::is_error) {
        let mut cmd = redis::cmd("GET");
        cmd.arg(keys.layout());
        findings.extend(layout(&link, &keys, &cmd).await?);
    }
    Ok(findings)
}

/// The same at a start, which also writes down how keys are spread.
pub(crate) async fn examine(link: &Link, keys: &Keys) -> Result<Vec<Finding>, Error> {
    let mut findings = of_servers(link).await?;
    if !findings.iter().any(Finding::is_error) {
        // the first to come writes it down. With another spread, records would not be found again
        let mut cmd = redis::cmd("SET");
        cmd.arg(keys.layout()).arg(keys.layout_value()).arg("NX").arg("GET");
        findings.extend(layout(link, keys, &cmd).await?);
    }
    Ok(findings)
}

/// What each server that was named says of itself, over a connection of its own.
async fn of_servers(link: &Link) -> Result<Vec<Finding>, Error> {
    let (mut findings, mut away, mut answered) = (Vec::new(), None, false);
    for client in link.endpoint.clients() {
        let (client, name) =
            client.map_err(|error| Error::invalid(format!("redis: the TLS files are of no use: {error}")))?;
        let about = if link.endpoint.cluster { format!("redis {name}") } else { "redis".to_owned() };
        match ask(&client, link, &about).await {
            Ok(found) => {
                answered = true;
                findings.extend(found);
            }
            Err(error) => {
                let error = explain(error, &name);
                if error.kind() != crate::ErrorKind::Unavailable {
                    return Err(error);
                }
                findings.push(Finding::warning(about, "the server does not answer").remedy("start it"));
                away = Some(error);
            }
        }
    }
    if answered {
        Ok(findings)
    } else {
        Err(away.unwrap_or_else(|| Error::invalid("redis: there is no URL")))
    }
}

async fn ask(client: &Client, link: &Link, about: &str) -> Result<Vec<Finding>, RedisError> {
    let endpoint = &link.endpoint;
    let mut connection = client.get_multiplexed_async_connection_with_config(&endpoint.connecting()).await?;
    let info: String = match redis::cmd("INFO").query_async(&mut connection).await {
        Ok(info) => info,
        Err(error) if error.code() == Some("NOPERM") => {
            let found =
                "INFO is not allowed to this user, so version, eviction and persistence were not checked";
            return Ok(vec![Finding::warning(about, found).remedy("allow `+info`")]);
        }
        Err(error) => return Err(error),
    };
    // Hosted servers refuse it, or do not know it.
    let settings: Option<HashMap<String, String>> =
        redis::cmd("CONFIG").arg("GET").arg(&SETTINGS).query_async(&mut connection).await.ok();
    let server = Server {
        about,
        info: &info,
        settings: settings.as_ref(),
        profile: endpoint.profile,
        fsync_confirmed: endpoint.fsync_confirmed,
        cluster: endpoint.cluster,
    };
    Ok(server.judge())
}

fn explain(error: RedisError, server: &str) -> Error {
    if verdict(&error) == Verdict::Unauthorized {
        return Error::unauthorized(format!("redis: {server} refuses the user or the password in the URL"))
            .because(error);
    }
    if let Some(tls) = tls_error(&error) {
        let text =
            format!("redis: no TLS with {server}: {tls}; check rediss://, tls_ca, tls_cert and tls_key");
        return Error::unauthorized(text).because(error);
    }
    if error.kind() == ErrorKind::RESP3NotSupported {
        return Error::unsupported(format!(
            "redis: {server} is older than 6.0; version 7.0 or later is needed"
        ))
        .because(error);
    }
    Error::unavailable(format!("redis: {server} does not answer: {error}")).because(error)
}

fn tls_error(error: &RedisError) -> Option<&rustls::Error> {
    // As the libraries wrap it: shared, in an I/O error, around what went wrong.
    let shared: &Arc<dyn std::error::Error + Send + Sync> =
        std::error::Error::source(error)?.downcast_ref()?;
    shared.downcast_ref::<std::io::Error>()?.get_ref()?.downcast_ref()
}

/// Compares how keys are spread with what was written down, as this command reads it.
async fn layout(link: &Link, keys: &Keys, cmd: &redis::Cmd) -> Result<Option<Finding>, Error> {
    let found = link
        .repeated(Operation::Command(cmd))
        .await
        .map_err(|error| Error::unavailable(format!("redis: {error}")).because(error))?;
    let found: Option<String> = redis::FromRedisValue::from_redis_value(found).map_err(|error| {
        Error::unsupported(format!("redis: {} holds something else: {error}", keys.layout()))
    })?;
    let ours = keys.layout_value();
    Ok(found.filter(|found| *found != ours).map(|found| {
        Finding::error("redis", format!("{} says `{found}`", keys.layout()))
            .expected(format!("`{ours}`, as these settings say"))
            .remedy("use equal settings, or another key_prefix")
    }))
}
