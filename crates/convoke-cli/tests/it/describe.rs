//! `convoke describe`.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::{convoke, with_input};

fn description() -> String {
    let handler = |kind: &str, name: &str, handler: &str, runs: Value, reply: Value| {
        json!({"kind": kind, "name": name, "handler": handler, "runs": runs, "idempotent": kind == "command",
               "message": "orders::PlaceOrder", "reply": reply, "error": reply, "at": "service.rs:1"})
    };
    json!({"format": 1, "service": "orders", "namespace": "convoke", "handlers": [
        handler("command", "orders.place.v1", "Orders::place", json!("one-node"), json!("orders::Placed")),
        handler("event", "orders.placed.v1", "Receiver::placed", json!("every-node"), Value::Null),
        handler("event", "orders.placed.v1", "Billing::bill", json!({"group": "billing"}), Value::Null),
    ]})
    .to_string()
}

/// A program that prints this when it is called with these arguments.
fn program(directory: &std::path::Path, arguments: &str, text: &str) -> String {
    let path = directory.join("service");
    let script = format!("#!/bin/sh\n[ \"$*\" = \"{arguments}\" ] || exit 9\ncat <<'END'\n{text}\nEND\n");
    std::fs::write(&path, script).expect("it is written");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("it can be run");
    path.display().to_string()
}

#[test]
fn a_description_is_read_from_the_input_a_file_or_a_program() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("orders.json");
    std::fs::write(&file, description()).expect("it is written");
    let file = file.display().to_string();
    let piped = with_input(&["describe"], &description()).ended(0);
    let expected = [
        "service orders in namespace convoke",
        "orders.place.v1   Orders::place     one node, once per key",
        "convoke.cmd.orders.place.v1",
        "queue group orders",
        "convoke.evt.*.orders.placed.v1",
        "CONVOKE_EVENTS",
        "orders__group__billing",
        "7 days, 1 GiB",
    ];
    let piped = piped.said(&expected);
    assert!(piped.stdout.lines().all(|line| line.chars().count() <= 80), "{}", piped.stdout);
    assert_eq!(with_input(&["describe", "-"], &description()).ended(0).stdout, piped.stdout);
    assert_eq!(convoke(&["describe", &file]).ended(0).stdout, piped.stdout);
    let asked = program(directory.path(), "describe --output json", &description());
    assert_eq!(convoke(&["describe", "--run", &asked]).ended(0).stdout, piped.stdout);
    let asked = program(directory.path(), "tell --all", &description());
    assert_eq!(convoke(&["describe", "--run", &asked, "tell", "--all"]).ended(0).stdout, piped.stdout);
}

#[test]
fn programs_get_json_in_another_namespace() {
    let ran = with_input(&["describe", "--output", "json", "--namespace", "eu"], &description()).ended(0);
    let json = ran.json();
    assert_eq!(json["handlers"][0]["name"], "orders.place.v1");
    assert_eq!(json["nats"]["subjects"][0]["subject"], "eu.cmd.orders.place.v1");
    assert_eq!(json["nats"]["streams"][0]["name"], "EU_EVENTS");
    // what comes out goes in again
    assert_eq!(with_input(&["describe", "--output", "json"], &ran.stdout).ended(0).json(), json);
}

#[test]
fn asyncapi_has_a_channel_for_each_message_and_an_operation_for_each_handler() {
    let api = with_input(&["describe", "--format", "asyncapi"], &description()).ended(0).json();
    assert_eq!(api["asyncapi"], "3.0.0");
    assert_eq!(api["channels"]["orders.place.v1"]["address"], "convoke.cmd.orders.place.v1");
    assert_eq!(api["channels"]["orders.placed.v1"]["address"], "convoke.evt.{lane}.orders.placed.v1");
    let operations = api["operations"].as_object().expect("operations");
    assert_eq!(operations.len(), 3);
    let place = &api["operations"]["Orders.place.orders.place.v1"];
    assert_eq!(
        (&place["action"], &place["bindings"]["nats"]["queue"]),
        (&"receive".into(), &"orders".into())
    );
    check_references(&api, &api);
}

/// Each `$ref` leads somewhere.
fn check_references(whole: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(reference) = fields.get("$ref") {
                let path = reference.as_str().expect("text").trim_start_matches('#');
                assert!(whole.pointer(path).is_some(), "{reference} leads nowhere");
            }
            fields.values().for_each(|field| check_references(whole, field));
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(whole, item)),
        _ => {}
    }
}

#[test]
fn what_is_no_description_is_told_with_its_source() {
    with_input(&["describe"], "").ended(2).said(&["--run PROGRAM"]);
    with_input(&["describe"], "{}").ended(1).said(&["the standard input is no description", "App::describe"]);
    convoke(&["describe", "missing.json"]).ended(1).said(&["missing.json"]);
    convoke(&["describe", "--run", "./no-such-program"])
        .ended(1)
        .said(&["./no-such-program", "cannot be run"]);
    convoke(&["describe", "--run", "false"]).ended(1).said(&["false does not describe itself"]);
    let endless = convoke(&["describe", "--run", "cat", "/dev/zero"]).ended(1);
    endless.said(&["more than 16777216 bytes"]);
}
