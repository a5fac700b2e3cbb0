//! Configuration: of NATS and of Redis as JSON, of the order system as TOML.
#![no_main]

use libfuzzer_sys::fuzz_target;
use orders::settings::Settings;

fuzz_target!(|text: &str| {
    if let Ok(config) = serde_json::from_str::<convoke_nats::Config>(text) {
        let _ = convoke_nats::__private::check(&config);
        let _ = format!("{config:?}");
    }
    if let Ok(config) = serde_json::from_str::<convoke_redis::Config>(text) {
        let _ = convoke_redis::__private::check(&config);
        let _ = format!("{config:?}");
    }
    if let Err(error) = Settings::from_toml(text, "fuzz.toml", []) {
        assert!(error.starts_with("the configuration fuzz.toml cannot be used: "), "{error}");
    }
});
