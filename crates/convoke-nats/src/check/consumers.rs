//! The consumers of a stream, against what nodes of this configuration declare.

use convoke_core::{Audience, Finding};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Config, Error, api,
    consuming::{COMPARED_BY_NODES_ALONE, declaration},
    drift,
    inbox::Inbox,
};

/// Most pages of consumers that are looked at; the server gives 256 on each.
const PAGES_MAX: usize = 40;

#[derive(Debug, Deserialize)]
struct Page {
    #[serde(default)]
    total: usize,
    #[serde(default)]
    consumers: Option<Vec<Known>>,
}

#[derive(Debug, Deserialize)]
struct Known {
    name: String,
    config: Value,
}

/// A finding for each field of a consumer that differs. Those that no node of ours makes are left alone.
pub(super) async fn examine(inbox: &Inbox, stream: &str, config: &Config) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut seen = 0;
    for _ in 0..PAGES_MAX {
        let page = inbox.api::<Page>(&format!("CONSUMER.LIST.{stream}"), &json!({"offset": seen})).await;
        let page = match page {
            Ok(page) => page,
            Err(error) if error.err_code() == api::STREAM_NOT_FOUND => return Ok(Vec::new()),
            Err(error) if error.is_temporary() => return Ok(findings), // the stream's finding tells
            Err(error) => return Err(super::unanswered(&error)),
        };
        let consumers = page.consumers.unwrap_or_default();
        seen += consumers.len();
        for finding in consumers.iter().flat_map(|known| compare(stream, known, config)) {
            // the consumers of a group's lanes differ in the same way
            if !findings.contains(&finding) {
                findings.push(finding);
            }
        }
        if consumers.is_empty() || seen >= page.total {
            break;
        }
    }
    if findings.is_empty() && seen > 0 {
        let consumers = if seen == 1 { "1 consumer".to_owned() } else { format!("{seen} consumers") };
        findings.push(Finding::fine(format!("consumers of {stream}"), format!("{consumers}, as declared")));
    }
    Ok(findings)
}

fn compare(stream: &str, known: &Known, config: &Config) -> Vec<Finding> {
    let Known { name, config: actual } = known;
    let Some(audience) = audience(name) else { return Vec::new() };
    let shown = name.split_once('=').map_or_else(|| name.clone(), |(group, _)| format!("{group}=.."));
    // how many messages may be in flight is the application's, which we do not know
    let declared = declaration(&audience, name, &[], 0, config);
    let ignored: Vec<_> = COMPARED_BY_NODES_ALONE.iter().copied().chain(["max_ack_pending"]).collect();
    drift::fields(&declared, actual, &ignored)
        .into_iter()
        .map(|field| {
            Finding::error(format!("consumer {shown} of {stream}"), format!("{} is {}", field.name, field.actual))
                .expected(field.declared)
                .remedy(format!(
                    "correct the configuration, or remove it with `nats consumer rm {stream} {shown}` and accept that \
                     its place is lost"
                ))
        })
        .collect()
}

/// Whose consumer it is, by its name.
fn audience(name: &str) -> Option<Audience> {
    match *name.split("__").collect::<Vec<_>>() {
        [_, "jobs"] => Some(Audience::Jobs),
        [_, "group", group] => Some(Audience::Group(group.to_owned())),
        [_, _, "view", _] => Some(Audience::View),
        [_, "node", _] => Some(Audience::Node), // of replays
        [_, _] => Some(Audience::Node),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_is_compared_by_what_its_name_says_it_is() {
        let config = Config::default();
        let names = [
            "orders__n1",
            "orders__jobs",
            "orders__group__billing",
            "orders__n1__view__x",
            "orders__node__n1",
            "orders__group__billing=03=7",
        ];
        for name in names {
            let audience = audience(name).expect("one of ours");
            let mut actual = declaration(&audience, name, &["a.b".to_owned()], 7, &config);
            let compared = |actual: &Value| {
                let known = Known { name: name.to_owned(), config: actual.clone() };
                compare("S", &known, &config)
            };
            assert_eq!(compared(&actual), [], "{name}");
            actual["ack_policy"] = "all".into();
            let found = compared(&actual);
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert!(found[0].found.contains("ack_policy is"), "{}", found[0]);
        }
    }

    #[test]
    fn a_consumer_of_somebody_else_is_left_alone() {
        for name in ["dashboard", "a__b__c", "a__b__c__d__e", ""] {
            assert_eq!(audience(name), None, "{name:?}");
        }
    }
}
