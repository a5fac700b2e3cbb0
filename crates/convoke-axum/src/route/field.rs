//! Which field a decoding error is about.

use convoke_core::{Codec, CodecError, Executed, Violation};
use http::StatusCode;
use serde::de::DeserializeOwned;

use crate::ProblemDetails;

/// How much of a path and of a parser's message is told. Both may quote what a stranger sent.
const TEXT_BYTES_MAX: usize = 256;

/// What serde says about a field by its name, before the name.
const ABOUT_A_FIELD: [&str; 3] = ["missing field `", "unknown field `", "duplicate field `"];

pub(super) fn undecodable(text: impl Into<String>) -> ProblemDetails {
    ProblemDetails::new(StatusCode::BAD_REQUEST, text)
        .code("undecodable")
        .title("The message could not be read")
        .executed(Executed::No)
}

/// The field of a body that was within the limits and is none of `T`. `None` when the body is wrong as a whole.
pub(super) fn of_content<T: DeserializeOwned>(
    codec: Codec,
    bytes: &[u8],
    error: &CodecError,
) -> Option<Violation> {
    if codec != Codec::Json {
        return violation("", &error.to_string());
    }
    // Read again, with the path kept this time: only who sends a wrong body pays for it.
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let error = serde_path_to_error::deserialize::<_, T>(&mut reader).err()?;
    if !error.inner().is_data() {
        return None;
    }
    violation(&error.path().to_string(), &error.inner().to_string())
}

/// The field of a query string, from what axum says about it: `<what failed>: [<path>: ]<message>`.
pub(super) fn of_query(text: &str) -> Option<Violation> {
    let (_, text) = text.split_once(": ")?;
    let path = text.split_once(": ").filter(|(path, _)| !path.contains([' ', '`']));
    let (path, message) = path.unwrap_or(("", text));
    violation(path, message)
}

fn violation(path: &str, message: &str) -> Option<Violation> {
    let path = if path == "." { "" } else { path };
    let named = ABOUT_A_FIELD.iter().find_map(|start| message.split_once(start)?.1.split('`').next());
    let field = match named {
        Some(name) if path.is_empty() => name.to_owned(),
        Some(name) if path != name && !path.ends_with(&format!(".{name}")) => format!("{path}.{name}"),
        _ => path.to_owned(),
    };
    (!field.is_empty()).then(|| Violation { field: cut(&field), message: cut(message) })
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use convoke_core::Limits;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(rename = "customerId")]
        _customer: String,
        #[serde(rename = "items")]
        _items: Vec<Item>,
    }

    #[derive(Debug, Deserialize)]
    struct Item {
        #[serde(rename = "quantity")]
        _quantity: u32,
    }

    #[track_caller]
    fn check(body: &str, expected: Option<&str>) {
        let error =
            Codec::Json.decode::<Order>(body.as_bytes(), &Limits::default()).expect_err("the body is wrong");
        let found = of_content::<Order>(Codec::Json, body.as_bytes(), &error);
        assert_eq!(found.map(|v| v.field).as_deref(), expected, "{error}");
    }

    #[test]
    fn the_field_of_a_wrong_json_body_is_named_with_its_path() {
        check(r#"{"items":[]}"#, Some("customerId"));
        check(r#"{"customerId":"a"}"#, Some("items"));
        check(r#"{"customerId":7,"items":[]}"#, Some("customerId"));
        check(r#"{"customerId":"a","items":[{"quantity":1},{"quantity":"x"}]}"#, Some("items[1].quantity"));
        check(r#"{"customerId":"a","items":[{"quantity":-1}]}"#, Some("items[0].quantity"));
        check(r#"{"customerId":"a","items":[{}]}"#, Some("items[0].quantity"));
        check(r#"{"customerId":"a","colour":"red"}"#, Some("colour"));
        check(r#"{"customerId":"a","customerId":"b"}"#, Some("customerId"));
    }

    #[test]
    fn what_is_not_json_has_no_field() {
        check("{\"items\":[}", None);
        check("nonsense", None);
    }

    #[test]
    fn the_field_of_a_wrong_message_pack_body_is_named_when_it_is_missing() {
        let body =
            Codec::MessagePack.encode(&serde_json::json!({"customerId": "a"})).expect("it can be encoded");
        let error = Codec::MessagePack.decode::<Order>(&body, &Limits::default()).expect_err("no items");
        let found = of_content::<Order>(Codec::MessagePack, &body, &error);
        assert_eq!(found.map(|v| v.field).as_deref(), Some("items"));
    }

    #[test]
    fn the_field_of_a_wrong_query_string_is_named() {
        let start = "Failed to deserialize query string: ";
        let field = |text: &str| of_query(&format!("{start}{text}")).map(|v| v.field);
        assert_eq!(field("limit: invalid digit found in string").as_deref(), Some("limit"));
        assert_eq!(field("missing field `after`").as_deref(), Some("after"));
        assert_eq!(field("something else entirely"), None);
    }

    #[test]
    fn a_strangers_megabyte_is_not_sent_back() {
        let found = violation(&"ä".repeat(1_000_000), "wrong").expect("a field");
        assert_eq!(found.field.len(), TEXT_BYTES_MAX);
    }
}
