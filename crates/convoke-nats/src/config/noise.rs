//! Configurations as people mistype them.
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Config;

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: convoke_testing::proptest_cases(1000),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

const FIELDS: [&str; 14] = [
    "urls",
    "auth",
    "tls",
    "ping_interval",
    "reconnect_delay_max",
    "inbox_prefix",
    "replicas",
    "events",
    "jobs",
    "dead",
    "publish_window",
    "inactive_threshold",
    "ack_wait",
    "akc_wait",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0..10_u64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        Just(Value::Null),
        "[0-9]{0,22}(ms|s|m|h|d| y)?".prop_map(Value::from),
        "(nats|tls|http)?(://)?([a-z%:]{0,6}@)?[a-z.:\\[\\]0-9 ]{0,12}(:[0-9]{0,6})?".prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ]
}

/// What may stand at a key: seldom what should.
fn value() -> impl Strategy<Value = Value> {
    let inner = prop::sample::select(vec![
        "max_age",
        "stream_bytes_max",
        "event_bytes_max",
        "duplicate_window",
        "waiting_max",
        "job_bytes_max",
        "user_password",
        "token",
        "nkey_seed",
        "require",
        "x",
    ]);
    prop_oneof![
        4 => scalar(),
        1 => prop::collection::vec(scalar(), 0..4).prop_map(Value::from),
        2 => prop::collection::btree_map(inner.prop_map(str::to_owned), scalar(), 0..4)
            .prop_map(|map| Value::Object(map.into_iter().collect())),
    ]
}

fn noise() -> impl Strategy<Value = Value> {
    let field = prop::sample::select(FIELDS.to_vec()).prop_map(str::to_owned);
    prop::collection::btree_map(field, value(), 0..5).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// A field, and numbers it does not take.
fn out_of_range() -> impl Strategy<Value = (&'static str, Value)> {
    let high = 1_u64 << 63..=u64::MAX;
    prop_oneof![
        prop_oneof![Just(0_u64), Just(2), Just(4), 6..1000_u64]
            .prop_map(|n| ("replicas", json!({"replicas": n}))),
        Just(("publish_window", json!({"publish_window": 0}))),
        (0..100_u64).prop_map(|n| ("ack_wait", json!({"ack_wait": format!("{n}ms")}))),
        Just(("ping_interval", json!({"ping_interval": "0s"}))),
        high.clone().prop_map(|n| ("events.stream_bytes_max", json!({"events": {"stream_bytes_max": n}}))),
        (1_u32 << 31..).prop_map(|n| ("events.event_bytes_max", json!({"events": {"event_bytes_max": n}}))),
        (0..120_u64).prop_map(|n| ("events.max_age", json!({"events": {"max_age": n}}))),
        high.clone().prop_map(|n| ("jobs.waiting_max", json!({"jobs": {"waiting_max": n}}))),
        Just(("jobs.scheduled_max", json!({"jobs": {"scheduled_max": 0}}))),
        (1_u32 << 31..).prop_map(|n| ("jobs.job_bytes_max", json!({"jobs": {"job_bytes_max": n}}))),
        high.prop_map(|n| ("dead.stream_bytes_max", json!({"dead": {"stream_bytes_max": n}}))),
        "[ *>.]{1,3}".prop_map(|text| ("inbox prefix", json!({"inbox_prefix": text}))),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn noise_is_refused_with_a_sentence_or_within_bounds(noise in noise()) {
        let Ok(config) = serde_json::from_value::<Config>(noise) else { return Ok(()) };
        let shown = format!("{config:?}");
        prop_assert!(!shown.is_empty());
        match config.check() {
            Err(error) => prop_assert!(!error.to_string().contains('\n') && error.to_string().len() > 20, "{}", error),
            Ok(servers) => {
                prop_assert!(matches!(config.replicas, None | Some(1 | 3 | 5)) && config.publish_window > 0);
                prop_assert!(config.events.max_age >= config.events.duplicate_window);
                prop_assert_eq!(servers.len(), config.urls.len());
                prop_assert!(servers.iter().all(|server| matches!(server.scheme(), "nats" | "tls")));
            }
        }
    }

    #[test]
    fn a_key_nobody_knows_is_named(field in "[a-z_]{3,12}") {
        prop_assume!(!FIELDS[..13].contains(&&*field));
        let error = serde_json::from_value::<Config>(json!({&field: 1})).expect_err("there is none of this name");
        let named = format!("`{field}`");
        prop_assert!(error.to_string().contains(&named), "{}", error);
    }

    #[test]
    fn a_number_out_of_range_is_named((field, text) in out_of_range()) {
        let config: Config = serde_json::from_value(text).expect("each is of the right type");
        let error = config.check().expect_err("it is out of range").to_string();
        prop_assert!(error.contains(field), "{}: {}", field, error);
    }

    #[test]
    fn what_is_given_is_what_is_used(
        host in "[a-z]{1,8}",
        port in 1..=u16::MAX,
        millis in 100..u32::MAX,
        window in 1..100_000_usize,
    ) {
        let url = format!("nats://{host}:{port}");
        let text = json!({"urls": [url], "ack_wait": format!("{millis}ms"), "publish_window": window});
        let config: Config = serde_json::from_value(text).expect("all of the right type");
        let servers = config.check().expect("all within range");
        prop_assert_eq!((servers[0].host(), servers[0].port()), (&*host, port));
        prop_assert_eq!((config.ack_wait.as_millis(), config.publish_window), (millis.into(), window));
    }

    #[test]
    fn no_secret_of_an_address_is_told(
        user in "[a-z]{1,4}",
        secret in "s3cr[a-z0-9%]{4,12}",
        rest in "[a-z.:\\[\\]0-9/ ]{0,12}",
    ) {
        let config = Config::new(format!("nats://{user}:{secret}@{rest}"));
        let told = config.check().and_then(|_| config.options()).err().map(|error| error.to_string());
        let told = format!("{} {config:?}", told.unwrap_or_default());
        prop_assert!(!told.contains(&secret), "{}", told);
    }
}
