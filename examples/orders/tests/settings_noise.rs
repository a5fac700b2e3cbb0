//! Configuration files as people mistype them: refused with the key, or read as they say.
use convoke::Profile;
use orders::settings::{ClusterSettings, HttpSettings, NatsSettings, RedisSettings, Role, Secret, Settings};
use proptest::prelude::*;
use serde_json::Value;

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: convoke_testing::proptest_cases(500),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Text that TOML and JSON quote alike.
fn text() -> impl Strategy<Value = String> {
    "[ -~äß€]{0,12}"
}

prop_compose! {
    fn settings()(
        (listen, node, namespace, effects) in (text(), prop::option::of(text()), text(), prop::option::of(text())),
        worker in any::<bool>(),
        (url, creds, user, password) in
            (text(), prop::option::of(text()), prop::option::of(text()), prop::option::of(text())),
        replicas in prop::option::of(0..1000_usize),
        (profile, fsync) in (prop::sample::select(Profile::ALL.to_vec()), any::<bool>()),
        redis in prop::option::of(text()),
        (token, cert, rate) in (prop::option::of(text()), prop::option::of(text()), prop::option::of(any::<u32>())),
    ) -> Settings {
        Settings {
            listen,
            node,
            role: if worker { Role::Worker } else { Role::Api },
            profile,
            namespace,
            effects_url: effects,
            nats: NatsSettings {
                url: Secret(url),
                creds: creds.map(Into::into),
                user,
                password: password.map(Secret),
                replicas,
                fsync_confirmed: fsync,
                ..NatsSettings::default()
            },
            redis: RedisSettings { url: redis.map(Secret), ca: None, fsync_confirmed: !fsync },
            http: HttpSettings {
                tls_cert: cert.map(Into::into),
                bearer_token: token.map(Secret),
                rate_limit: rate,
                ..HttpSettings::default()
            },
            cluster: ClusterSettings { enabled: worker, nats: fsync, ..ClusterSettings::default() },
        }
    }
}

/// A value as TOML writes it; `null` is what is left out.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(table) => {
            let given = table.iter().filter(|(_, value)| !value.is_null());
            let pairs: Vec<_> = given.map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        other => other.to_string(),
    }
}

fn file(settings: &Settings) -> String {
    let Ok(Value::Object(table)) = serde_json::to_value(settings) else { panic!("settings are a table") };
    let given = table.iter().filter(|(_, value)| !value.is_null());
    given.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect()
}

fn noise() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        "(listen|node|role|namespace|nats|redis|http|nats\\.url|nats\\.replicas|http\\.rate_limit|lisen) = .{0,12}",
        "(listen|role|nats\\.url|nats\\.replicas|redis\\.url|http\\.rate_limit) = (\"[a-z]{0,6}\"|[0-9-]{1,22}|true|\\[\\])",
        "\\[(nats|redis|http|x|)\\]",
        ".{0,20}",
    ];
    prop::collection::vec(line, 0..6).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn settings_come_back_from_a_file(settings in settings()) {
        let file = file(&settings);
        let back = Settings::from_toml(&file, "orders.toml", []);
        prop_assert_eq!(back, Ok(settings), "{}", file);
    }

    #[test]
    fn noise_is_refused_with_one_sentence_or_read(noise in noise()) {
        match Settings::from_toml(&noise, "orders.toml", []) {
            Err(error) => {
                prop_assert!(error.starts_with("the configuration orders.toml cannot be used: "), "{}", error);
            }
            Ok(settings) => {
                let again = Settings::from_toml(&file(&settings), "again.toml", []);
                // What no JSON string writes as TOML does is left out: control characters.
                let plain = !format!("{settings:?}").contains("\\u");
                prop_assert!(!plain || again == Ok(settings), "{:?}", again);
            }
        }
    }

    #[test]
    fn a_key_nobody_knows_is_named_with_its_table(table in "(nats|redis|http)", key in "[a-z]{4,9}x") {
        let error = Settings::from_toml(&format!("[{table}]\n{key} = 1"), "orders.toml", []);
        let error = error.expect_err("there is none of this name");
        let named = format!("there is no key `{table}.{key}`");
        prop_assert!(error.contains(&named), "{}", error);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named_with_its_key(
        key in "(nats\\.replicas|http\\.rate_limit|nats\\.url|listen|role)",
        value in "(\\[1\\]|true|2020-01-01)",
    ) {
        let error = Settings::from_toml(&format!("{key} = {value}"), "orders.toml", []).expect_err("a wrong type");
        let named = format!("`{key}"); // for a date, with what is inside of it
        prop_assert!(error.contains(&named), "{}", error);
    }
}
