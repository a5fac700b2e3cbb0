//! Configurations as people mistype them.
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Config, KEY_PREFIX_BYTES_MAX, PARTITIONS_MAX};

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: convoke_testing::proptest_cases(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const FIELDS: [&str; 13] = [
    "url",
    "cluster",
    "key_prefix",
    "partitions",
    "command_timeout",
    "attempt_timeout",
    "connect_timeout",
    "watchdog_timeouts",
    "poll_interval",
    "abandoned_retention",
    "tls_ca",
    "tls_cert",
    "tls_key",
];

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        (-2..2000_i64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        "[0-9]{0,22}(ms|s|m|h|d| y)?".prop_map(Value::from),
        "[a-z.:{}*-]{0,70}".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

fn noise() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned);
    prop::collection::btree_map(field, value(), 0..5).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A field, and what it does not take.
fn out_of_range() -> impl Strategy<Value = (&'static str, Value)> {
    let timeouts =
        ["command_timeout", "attempt_timeout", "connect_timeout", "poll_interval", "abandoned_retention"];
    prop_oneof![
        prop::sample::select(timeouts.to_vec()).prop_map(|field| (field, json!({field: "0ms"}))),
        (PARTITIONS_MAX + 1..).prop_map(|n| ("partitions", json!({"partitions": n}))),
        Just(("partitions", json!({"partitions": 0}))),
        "[{}*? é]{1,3}".prop_map(|text| ("key_prefix", json!({"key_prefix": text}))),
        "a{65,90}".prop_map(|text| ("key_prefix", json!({"key_prefix": text}))),
        ".{0,9}".prop_map(|path| ("tls_key", json!({"tls_cert": path}))),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn noise_is_refused_with_a_sentence_or_within_bounds(noise in noise()) {
        let Ok(config) = serde_json::from_value::<Config>(noise) else { return Ok(()) };
        let shown = format!("{config:?}");
        prop_assert!(config.url.len() < 12 || !shown.contains(&config.url), "{}", shown);
        match config.validate() {
            Err(error) => prop_assert!(FIELDS.iter().any(|field| error.to_string().contains(field)), "{}", error),
            Ok(()) => {
                prop_assert!((1..=PARTITIONS_MAX).contains(&config.partitions));
                prop_assert!((1..=KEY_PREFIX_BYTES_MAX).contains(&config.key_prefix.len()));
                prop_assert!(config.command_timeout >= Duration::from_millis(1));
                prop_assert_eq!(config.tls_cert.is_some(), config.tls_key.is_some());
            }
        }
    }

    #[test]
    fn what_is_out_of_range_is_named((field, text) in out_of_range()) {
        let config: Config = serde_json::from_value(text).expect("each is of the right type");
        let error = config.validate().expect_err("it is out of range").to_string();
        prop_assert!(error.contains(field), "{}: {}", field, error);
    }

    #[test]
    fn a_key_nobody_knows_is_named(field in "[a-z_]{3,12}") {
        prop_assume!(!FIELDS.contains(&&*field));
        let error = serde_json::from_value::<Config>(json!({&field: 1})).expect_err("there is none of this name");
        let named = format!("`{field}`");
        prop_assert!(error.to_string().contains(&named), "{}", error);
    }

    #[test]
    fn what_is_given_is_what_is_used(
        url in "redis://[a-z]{1,8}:[0-9]{1,4}",
        prefix in "[A-Za-z0-9._:-]{1,64}",
        partitions in 1..=PARTITIONS_MAX,
        millis in 1..u32::MAX,
    ) {
        let text = json!({
            "url": url,
            "key_prefix": prefix,
            "partitions": partitions,
            "command_timeout": format!("{millis}ms"),
        });
        let config: Config = serde_json::from_value(text).expect("all of the right type");
        prop_assert!(config.validate().is_ok());
        prop_assert_eq!((config.url, config.key_prefix, config.partitions), (url, prefix, partitions));
        prop_assert_eq!(config.command_timeout.as_millis(), u128::from(millis));
    }
}
