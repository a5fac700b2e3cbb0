//! How the buckets are declared.

use std::time::Duration;

use serde_json::{Value, json};

use super::StoresConfig;

/// How long a mark outlives its last write.
const MARKS_AGE: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// How long an expired record's marker is left for those who watch the bucket. The shortest the server takes.
const MARKER_AGE: Duration = Duration::from_secs(1);
/// For how long the server recognises repeated message ids; we send none, and this is what `nats kv` declares.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// For claims: each record says how long it is kept.
pub(super) fn claims(config: &StoresConfig, replicas: usize) -> Value {
    let mut wanted = declaration(config, "CLAIMS", config.claims_bytes_max, replicas);
    wanted["allow_msg_ttl"] = true.into();
    wanted["subject_delete_marker_ttl"] = nanos(MARKER_AGE).into();
    wanted
}

/// For marks: all are kept equally long.
pub(super) fn marks(config: &StoresConfig, replicas: usize) -> Value {
    let mut wanted = declaration(config, "MARKS", config.marks_bytes_max, replicas);
    wanted["max_age"] = nanos(MARKS_AGE).into();
    wanted
}

fn declaration(config: &StoresConfig, what: &str, bytes_max: u64, replicas: usize) -> Value {
    let bucket = format!("{}_{what}", config.namespace.to_ascii_uppercase());
    json!({
        "name": format!("KV_{bucket}"), "subjects": [format!("$KV.{bucket}.>")],
        "retention": "limits", "storage": "file", "discard": "new", "num_replicas": replicas,
        "max_bytes": bytes_max, "max_msgs_per_subject": 1, "max_msgs": -1, "max_consumers": -1, "max_age": 0,
        "duplicate_window": nanos(DUPLICATE_WINDOW),
        "allow_rollup_hdrs": true, "deny_delete": true, "allow_direct": true,
    })
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2)
}
