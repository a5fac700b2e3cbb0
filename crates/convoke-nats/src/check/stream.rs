//! One stream: as it was declared, on all its servers, and not full.

use convoke_core::{Finding, Severity};
use serde_json::Value;

use crate::{
    declare::{Replica, Stream},
    drift,
};

/// Behind by more, a copy is told of.
const LAG_MAX: u64 = 1000;

/// Compares it with its declaration, a finding for each field that differs, and looks at its copies and its size.
pub(super) fn examine(declared: &Value, stream: &Stream) -> Vec<Finding> {
    let name = declared["name"].as_str().unwrap_or_default();
    let mut findings: Vec<_> = drift::fields(declared, &stream.config, &crate::declare::IGNORED)
        .into_iter()
        .map(|field| {
            Finding::error(about(name), format!("{} is {}", field.name, field.actual))
                .expected(field.declared)
                .remedy(format!(
                    "correct the configuration, or change the stream with `nats stream edit {name}`; nodes never do"
                ))
        })
        .collect();
    findings.extend(of_stream(declared, stream));
    if findings.is_empty() {
        let (messages, bytes) = (stream.state.messages, stream.state.bytes);
        let copies = stream.config["num_replicas"].as_u64().unwrap_or(1);
        let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
        findings.push(Finding::fine(
            about(name),
            format!("as declared, {copies}, {messages} messages, {bytes} bytes"),
        ));
    }
    findings
}

/// What can be said of a stream besides its declaration.
pub(crate) fn of_stream(declared: &Value, stream: &Stream) -> Vec<Finding> {
    let name = declared["name"].as_str().unwrap_or_default();
    copies(name, stream).into_iter().chain(fill(name, declared, stream)).collect()
}

/// It is not there: that is how a namespace begins.
pub(super) fn missing(name: &str) -> Finding {
    Finding::fine(about(name), "not declared yet: the first node that needs it does")
}

/// It did not say.
pub(super) fn silent(name: &str, why: &str) -> Finding {
    Finding::error(about(name), format!("it does not answer ({why})"))
        .expected("an answer of its leader")
        .remedy("start the servers that are away; without a majority nothing is stored")
}

fn about(name: &str) -> String {
    format!("stream {name}")
}

fn copies(name: &str, stream: &Stream) -> Option<Finding> {
    let cluster = stream.cluster.as_ref()?;
    let leaderless = cluster.leader.is_empty();
    if leaderless {
        return Some(
            Finding::error(about(name), "it has no leader")
                .expected("one of its servers leads it")
                .remedy("start the servers that are away; without a majority nothing is stored"),
        );
    }
    let behind = |replica: &&Replica| replica.offline || !replica.current || replica.lag > LAG_MAX;
    let behind: Vec<_> = cluster.replicas.iter().filter(behind).map(|replica| &*replica.name).collect();
    (!behind.is_empty()).then(|| {
        Finding::warning(about(name), format!("copies away or behind: {}", behind.join(", ")))
            .expected("all copies current")
            .remedy("look at those servers; another failure may stop the stream")
    })
}

/// Whether nine tenths of a limit are reached.
fn fill(name: &str, declared: &Value, stream: &Stream) -> Option<Finding> {
    let used = [("max_bytes", stream.state.bytes, "bytes"), ("max_msgs", stream.state.messages, "messages")];
    used.into_iter().find_map(|(limit, used, unit)| {
        let most = stream.config[limit].as_u64().filter(|most| *most > 0)?;
        if used / 9 < most / 10 {
            return None;
        }
        let refuses = declared["discard"] == "new";
        let then = if refuses {
            "then nothing more is stored"
        } else {
            "then the oldest make room before their time"
        };
        let found = format!("{used} of {most} {unit} are used");
        Some(
            Finding::new(Severity::Warning, about(name), found)
                .expected("below 90 %")
                .remedy(format!("raise its limit in the configuration and at the server; {then}")),
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stream(config: Value, state: Value, cluster: Value) -> Stream {
        let whole =
            json!({"created": "2026-11-21T14:59:26Z", "config": config, "state": state, "cluster": cluster});
        serde_json::from_value(whole).expect("a stream")
    }

    #[track_caller]
    fn check(stream: &Stream, expected: &[(Severity, &str)]) {
        let declared = json!({"name": "S", "max_bytes": 1000, "max_age": 7, "discard": "new"});
        let findings = examine(&declared, stream);
        assert_eq!(findings.len(), expected.len(), "{findings:?}");
        for (finding, (severity, text)) in findings.iter().zip(expected) {
            assert_eq!(finding.severity, *severity, "{finding}");
            assert!(finding.to_string().contains(text), "{finding}");
        }
    }

    fn declared() -> Value {
        json!({"name": "S", "max_bytes": 1000, "max_age": 7, "discard": "new"})
    }

    #[test]
    fn each_field_that_differs_is_a_finding() {
        let mut config = declared();
        config["max_age"] = 8.into();
        config["max_bytes"] = 900.into();
        let state = json!({"last_seq": 0, "messages": 0, "bytes": 0});
        check(
            &stream(config, state.clone(), Value::Null),
            &[(Severity::Error, "max_age is 8ns, expected is 7ns"), (Severity::Error, "max_bytes is 900")],
        );
        check(&stream(declared(), state, Value::Null), &[(Severity::Fine, "as declared")]);
    }

    #[test]
    fn copies_that_are_away_or_behind_are_named() {
        let state = json!({"last_seq": 0, "messages": 0, "bytes": 0});
        let with = |cluster| stream(declared(), state.clone(), cluster);
        check(
            &with(json!({"leader": "a", "replicas": [{"name": "b", "current": true}]})),
            &[(Severity::Fine, "")],
        );
        let away = json!({"leader": "a", "replicas": [{"name": "b", "current": false, "offline": true}]});
        check(&with(away), &[(Severity::Warning, "copies away or behind: b")]);
        let slow = json!({"leader": "a", "replicas": [{"name": "b", "current": true, "lag": 5000}]});
        check(&with(slow), &[(Severity::Warning, "behind: b")]);
        check(&with(json!({"replicas": []})), &[(Severity::Error, "no leader")]);
    }

    #[test]
    fn a_stream_that_is_nearly_full_is_told() {
        let full =
            |bytes| stream(declared(), json!({"last_seq": 9, "messages": 9, "bytes": bytes}), Value::Null);
        check(&full(899), &[(Severity::Fine, "")]);
        check(&full(900), &[(Severity::Warning, "900 of 1000 bytes")]);
    }
}
