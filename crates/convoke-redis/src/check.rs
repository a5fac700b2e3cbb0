//! Whether a server is one we can work with.

use std::fmt;
use std::sync::Arc;

use redis::{Client, ErrorKind, RedisError};

use crate::error::{Error, Verdict, verdict};
use crate::keys::Keys;
use crate::link::{Link, Operation};

const VERSION_MIN: (u32, u32) = (7, 0);

/// Something about the server that should be otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    refusal: bool,
    text: String,
}

impl Finding {
    fn refusal(text: impl Into<String>) -> Self {
        Self { refusal: true, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self { refusal: false, text: text.into() }
    }

    /// Whether the stores must not be used like this. Else it is a warning.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.refusal
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

pub(crate) async fn examine(link: &Link, keys: &Keys) -> Result<Vec<Finding>, Error> {
    let mut findings = match info(link).await? {
        Some(info) => findings(&info, link.endpoint.cluster),
        None => vec![Finding::warning(
            "redis: INFO is not allowed to this user, so its version and eviction policy were not checked",
        )],
    };
    if !findings.iter().any(Finding::is_refusal) {
        findings.extend(layout(link, keys).await?);
    }
    Ok(findings)
}

/// What the first server that answers says of itself, over a connection of its own; `None` when it may not say.
async fn info(link: &Link) -> Result<Option<String>, Error> {
    let mut last = None;
    for client in link.endpoint.clients() {
        let (client, name) =
            client.map_err(|error| Error::invalid(format!("redis: the TLS files are of no use: {error}")))?;
        match ask(&client, link).await {
            Ok(info) => return Ok(Some(info)),
            Err(error) if error.code() == Some("NOPERM") => return Ok(None),
            Err(error) => {
                let error = explain(error, &name);
                if error.kind() != crate::ErrorKind::Unavailable {
                    return Err(error);
                }
                last = Some(error);
            }
        }
    }
    Err(last.unwrap_or_else(|| Error::invalid("redis: there is no URL")))
}

async fn ask(client: &Client, link: &Link) -> Result<String, RedisError> {
    let mut connection =
        client.get_multiplexed_async_connection_with_config(&link.endpoint.connecting()).await?;
    redis::cmd("INFO").query_async(&mut connection).await
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

fn findings(info: &str, cluster: bool) -> Vec<Finding> {
    let field = |name: &str| {
        info.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
            .unwrap_or_default()
    };
    let mut findings = Vec::new();
    let version = field("redis_version");
    match parse_version(version) {
        Some(number) if number < VERSION_MIN => findings.push(Finding::refusal(format!(
            "redis: this is version {version}; version 7.0 or later is needed"
        ))),
        Some(_) => {}
        None => findings
            .push(Finding::warning("redis: the server does not tell its version; 7.0 or later is needed")),
    }
    match (field("redis_mode"), cluster) {
        ("cluster", false) => findings.push(Finding::refusal(
            "redis: the server is part of a cluster; set `cluster` or name several of its nodes",
        )),
        ("standalone", true) => {
            findings.push(Finding::refusal("redis: `cluster` is set, but the server is not part of one"));
        }
        _ => {}
    }
    let policy = field("maxmemory_policy");
    if !policy.is_empty() && policy != "noeviction" {
        findings.push(Finding::warning(format!(
            "redis: with maxmemory-policy {policy} claims may be evicted and commands run twice; set noeviction"
        )));
    }
    findings
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The first to come writes down how keys are spread. With another spread, records would not be found again.
async fn layout(link: &Link, keys: &Keys) -> Result<Option<Finding>, Error> {
    let ours = keys.layout_value();
    let mut cmd = redis::cmd("SET");
    cmd.arg(keys.layout()).arg(&ours).arg("NX").arg("GET");
    let found = link
        .repeated(Operation::Command(&cmd))
        .await
        .map_err(|error| Error::unavailable(format!("redis: {error}")).because(error))?;
    let found: Option<String> = redis::FromRedisValue::from_redis_value(found).map_err(|error| {
        Error::unsupported(format!("redis: {} holds something else: {error}", keys.layout()))
    })?;
    Ok(found.filter(|found| *found != ours).map(|found| {
        let key = keys.layout();
        Finding::refusal(format!(
            "redis: {key} says `{found}`, these settings say `{ours}`; use equal settings or another key_prefix"
        ))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(info: &str, cluster: bool, expected: &[(bool, &str)]) {
        let findings = findings(info, cluster);
        let refusals: Vec<_> = findings.iter().map(Finding::is_refusal).collect();
        assert_eq!(
            refusals,
            expected.iter().map(|(refusal, _)| *refusal).collect::<Vec<_>>(),
            "{findings:?}"
        );
        for (finding, (_, text)) in findings.iter().zip(expected) {
            assert!(finding.to_string().contains(text), "{finding}");
        }
    }

    #[test]
    fn a_server_is_judged_by_what_it_says_of_itself() {
        let info = |version, mode, policy| {
            format!(
                "# Server\r\nredis_version:{version}\r\nredis_mode:{mode}\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        check(&info("7.0.15", "standalone", "noeviction"), false, &[]);
        check(&info("10.2.0", "cluster", "noeviction"), true, &[]);
        check(&info("6.2.14", "standalone", "noeviction"), false, &[(true, "6.2.14")]);
        check(&info("7.0.15", "standalone", "allkeys-lru"), false, &[(false, "allkeys-lru")]);
        check(&info("7.0.15", "cluster", "noeviction"), false, &[(true, "set `cluster`")]);
        check(&info("7.0.15", "standalone", "noeviction"), true, &[(true, "not part of one")]);
        check("", false, &[(false, "version")]);
    }
}
