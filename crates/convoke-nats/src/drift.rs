//! Finds how what the server holds differs from what is declared.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Map, Value};

/// A setting that differs.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) actual: String,
    pub(crate) declared: String,
}

/// What differs, as `max_age is 1 day, 7 days is declared`. Both sides may leave defaults out.
pub(crate) fn differences(declared: &Value, actual: &Value, ignored: &[&str]) -> Vec<String> {
    let fields = fields(declared, actual, ignored).into_iter();
    fields
        .map(|field| format!("{} is {}, {} is declared", field.name, field.actual, field.declared))
        .collect()
}

/// What differs, field by field.
pub(crate) fn fields(declared: &Value, actual: &Value, ignored: &[&str]) -> Vec<Field> {
    let (declared, actual) = (settings(declared, ignored), settings(actual, ignored));
    let names: BTreeSet<_> = declared.keys().chain(actual.keys()).collect();
    names
        .into_iter()
        .filter(|name| declared.get(*name) != actual.get(*name))
        .map(|name| {
            let shown = |settings: &Map<String, Value>| {
                settings.get(name).map_or("unset".to_owned(), |v| show(name, v))
            };
            Field { name: name.clone(), actual: shown(&actual), declared: shown(&declared) }
        })
        .collect()
}

fn settings(config: &Value, ignored: &[&str]) -> Map<String, Value> {
    let all = config.as_object().cloned().unwrap_or_default();
    all.into_iter().filter(|(name, value)| !ignored.contains(&name.as_str()) && !is_unset(value)).collect()
}

fn is_unset(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Bool(true) => false,
        Value::Number(number) => matches!(number.as_i64(), Some(0 | -1)),
        Value::String(text) => text.is_empty() || text == "none",
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

fn show(name: &str, value: &Value) -> String {
    const DURATIONS: [&str; 4] = ["max_age", "duplicate_window", "ack_wait", "inactive_threshold"];
    match value.as_u64() {
        Some(nanos) if DURATIONS.contains(&name) => format!("{:?}", Duration::from_nanos(nanos)),
        _ => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_no_difference_and_others_are_named() {
        let declared = json!({"max_age": 2_000_000_000_u64, "subjects": ["a.>"], "max_msgs": -1});
        let actual = json!({"max_age": 1_000_000_000_u64, "subjects": ["a.>"], "sealed": false, "metadata": {"x": "y"}, "mirror": {"name": "M"}});
        let found = differences(&declared, &actual, &["metadata"]);
        assert_eq!(found, ["max_age is 1s, 2s is declared", "mirror is {\"name\":\"M\"}, unset is declared"]);
        assert!(differences(&declared, &declared, &[]).is_empty());
    }
}
