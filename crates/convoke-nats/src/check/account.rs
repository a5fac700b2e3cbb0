//! What JetStream allows the account.

use std::collections::BTreeMap;

use convoke_core::Finding;
use serde::Deserialize;
use serde_json::Value;

use crate::Config;

/// The level of 2.12, which brought schedules: commands that wait for their time need them.
const API_LEVEL_MIN: u64 = 2;

/// An account as JetStream tells it. A limit of -1 is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Account {
    #[serde(flatten)]
    all: Tier,
    /// Limits by the number of copies, `R1` and `R3`, where the operator set them so.
    tiers: BTreeMap<String, Tier>,
    api: Api,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Api {
    level: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Tier {
    storage: u64,
    reserved_storage: u64,
    streams: u64,
    limits: Limits,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Limits {
    max_storage: i64,
    max_streams: i64,
    storage_max_stream_bytes: i64,
    max_bytes_required: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_storage: -1, max_streams: -1, storage_max_stream_bytes: -1, max_bytes_required: false }
    }
}

/// Judges the account by the streams that are still to be declared.
pub(super) fn examine(account: &Account, missing: &[Value], config: &Config) -> Vec<Finding> {
    let mut findings = vec![level(account.api.level)];
    let copies = config.copies();
    let tier = account.tiers.get(&format!("R{copies}"));
    let (tier, counted_copies) = match tier {
        _ if account.tiers.is_empty() => (&account.all, copies),
        Some(tier) => (tier, 1), // a tier's limits are for messages, however often they are stored
        None => {
            findings.push(
                Finding::error("account", format!("it has no room for streams with {copies} copies"))
                    .expected(format!("the tier R{copies}"))
                    .remedy("have the operator add it to the account, or choose another profile"),
            );
            return findings;
        }
    };
    let before = findings.len();
    findings.extend(storage(tier, missing, counted_copies));
    findings.extend(streams(tier, missing));
    findings.extend(stream_size(tier, missing));
    if findings.len() == before {
        findings.push(Finding::fine(
            "account",
            format!("{} streams, {} bytes stored", tier.streams, tier.storage),
        ));
    }
    findings
}

fn level(level: u64) -> Finding {
    if level >= API_LEVEL_MIN {
        return Finding::fine("nats", format!("JetStream is on, API level {level}"));
    }
    Finding::error("nats", format!("JetStream has the API level {level}"))
        .expected(format!("{API_LEVEL_MIN} or higher"))
        .remedy("update every NATS server to 2.12.3 or later: commands that wait for their time need it")
}

fn bytes_max(declaration: &Value) -> Option<u64> {
    declaration["max_bytes"].as_u64().filter(|bytes| *bytes > 0)
}

fn storage(tier: &Tier, missing: &[Value], copies: usize) -> Option<Finding> {
    let limit = u64::try_from(tier.limits.max_storage).ok()?;
    let copies = u64::try_from(copies).unwrap_or(u64::MAX);
    let taken = tier.reserved_storage.max(tier.storage);
    let needed = missing.iter().filter_map(bytes_max).sum::<u64>().saturating_mul(copies);
    if needed > limit.saturating_sub(taken) {
        return Some(
            Finding::error("account", format!("{taken} of {limit} bytes of storage are taken"))
                .expected(format!("{needed} more, for the streams that are still to be declared"))
                .remedy("raise the account's limit, or lower the `.._bytes_max` of the configuration"),
        );
    }
    // in tenths, so that nothing overflows and nothing is rounded away
    (limit > 0 && tier.storage / 9 >= limit / 10).then(|| {
        Finding::warning("account", format!("{} of {limit} bytes of storage are used", tier.storage))
            .expected("below 90 %")
            .remedy("raise the account's limit before it is reached; then nothing is stored any more")
    })
}

fn streams(tier: &Tier, missing: &[Value]) -> Option<Finding> {
    let limit = u64::try_from(tier.limits.max_streams).ok()?;
    let needed = tier.streams.saturating_add(u64::try_from(missing.len()).unwrap_or(u64::MAX));
    (needed > limit).then(|| {
        Finding::error("account", format!("{} of {limit} streams exist", tier.streams))
            .expected(format!("room for {} more", missing.len()))
            .remedy("raise the account's limit, or remove streams that nobody needs")
    })
}

fn stream_size(tier: &Tier, missing: &[Value]) -> Vec<Finding> {
    let name = |declaration: &Value| declaration["name"].as_str().unwrap_or_default().to_owned();
    let limit = u64::try_from(tier.limits.storage_max_stream_bytes).ok().filter(|limit| *limit > 0);
    let too_large = missing.iter().filter_map(|declaration| {
        let (bytes, limit) = (bytes_max(declaration)?, limit?);
        (bytes > limit).then(|| {
            Finding::error("account", format!("a stream may have {limit} bytes"))
                .expected(format!("{bytes}, as {} is declared", name(declaration)))
                .remedy("raise the account's limit, or lower its `.._bytes_max` in the configuration")
        })
    });
    let unbounded = |declaration: &&Value| tier.limits.max_bytes_required && bytes_max(declaration).is_none();
    let unbounded = missing.iter().filter(unbounded).map(|declaration| {
        Finding::error("account", "every stream must have a size")
            .expected(format!("that {} may have none", name(declaration)))
            .remedy("have the operator lift `max_bytes_required`")
    });
    too_large.chain(unbounded).collect()
}

#[cfg(test)]
mod tests {
    use convoke_core::{Profile, Severity};
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(account: &Value, config: &Config, expected: &[(Severity, &str)]) {
        let account: Account = serde_json::from_value(account.clone()).expect("an account");
        let missing = [json!({"name": "E", "max_bytes": 1000}), json!({"name": "S", "max_bytes": -1})];
        let found = examine(&account, &missing, config);
        let worth_telling: Vec<_> = found.iter().filter(|one| one.severity > Severity::Fine).collect();
        assert_eq!(worth_telling.len(), expected.len(), "{found:?}");
        for (finding, (severity, text)) in worth_telling.iter().zip(expected) {
            assert_eq!(finding.severity, *severity, "{finding}");
            assert!(finding.to_string().contains(text), "{finding}");
        }
    }

    fn account(limits: Value) -> Value {
        json!({"storage": 0, "reserved_storage": 500, "streams": 2, "limits": limits, "api": {"level": 2}})
    }

    #[test]
    fn limits_below_what_is_needed_are_errors() {
        let fast = Config::default();
        let ha = Config::default().profile(Profile::Ha);
        check(&account(json!({"max_storage": -1, "max_streams": -1})), &ha, &[]);
        check(&account(json!({"max_storage": 1500})), &fast, &[]);
        check(&account(json!({"max_storage": 1500})), &ha, &[(Severity::Error, "3000 more")]);
        check(&account(json!({"max_storage": 1499})), &fast, &[(Severity::Error, "1000 more")]);
        check(&account(json!({"max_streams": 3})), &fast, &[(Severity::Error, "2 of 3 streams")]);
        check(&account(json!({"storage_max_stream_bytes": 999})), &fast, &[(Severity::Error, "as E is")]);
        check(&account(json!({"max_bytes_required": true})), &fast, &[(Severity::Error, "that S may")]);
    }

    #[test]
    fn storage_that_is_nearly_used_up_is_warned_of() {
        let mut full = account(json!({"max_storage": 100_000}));
        full["storage"] = 91_000.into();
        check(&full, &Config::default(), &[(Severity::Warning, "91000 of 100000")]);
    }

    #[test]
    fn tiers_count_by_their_copies() {
        let mut tiered = account(json!({"max_storage": 0}));
        tiered["tiers"] = json!({"R1": {"limits": {"max_storage": 1000}}});
        check(&tiered, &Config::default(), &[]);
        let ha = Config::default().profile(Profile::Ha);
        check(&tiered, &ha, &[(Severity::Error, "the tier R3")]);
        tiered["tiers"]["R3"] = json!({"limits": {"max_storage": 1000}});
        check(&tiered, &ha, &[]);
    }

    #[test]
    fn an_api_without_schedules_is_an_error() {
        let mut old = account(json!({}));
        old["api"]["level"] = 1.into();
        check(&old, &Config::default(), &[(Severity::Error, "API level 1")]);
    }
}
