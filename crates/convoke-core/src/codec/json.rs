//! The shape of a JSON payload: how deep, and how many values. Whether it is JSON is left to the parser.

use super::{CodecError, Limits};

/// Refuses what is deeper, more or longer than one value within the limits. Its length was checked before.
pub(super) fn check(payload: &[u8], limits: &Limits) -> Result<(), CodecError> {
    let depth_max = limits.effective_depth_max();
    let (mut depth, mut items, mut at) = (0_usize, 0_usize, 0);
    while let Some(&byte) = payload.get(at) {
        let start = at;
        at += 1;
        if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
            continue;
        }
        if depth == 0 && items > 0 {
            return Err(CodecError::trailing(start, payload.len()));
        }
        match byte {
            b',' | b':' => continue,
            b']' | b'}' => {
                // One that closes nothing is for the parser to refuse.
                depth = depth.saturating_sub(1);
                continue;
            }
            b'[' | b'{' if depth == depth_max => return Err(CodecError::too_deep(start, depth_max)),
            b'[' | b'{' => depth += 1,
            b'"' => {
                at = string_end(payload, at).ok_or_else(|| CodecError::truncated(start, payload.len()))?
            }
            _ => at = token_end(payload, at),
        }
        items += 1;
        if items > limits.items_max {
            return Err(CodecError::too_many_items(start, limits.items_max));
        }
    }
    // A value that is cut off elsewhere, as in `tru`, is for the parser to notice.
    if depth > 0 { Err(CodecError::truncated(payload.len(), payload.len())) } else { Ok(()) }
}

/// The place behind the closing quote.
fn string_end(payload: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let rest = payload.get(at..)?;
        let len = rest.iter().position(|&byte| byte == b'"' || byte == b'\\')?;
        at += len + 1;
        if rest[len] == b'"' {
            return Some(at);
        }
        // Whatever is escaped, it does not end the string.
        at += 1;
    }
}

/// The place behind a number or a word.
fn token_end(payload: &[u8], from: usize) -> usize {
    payload[from..]
        .iter()
        .position(|&byte| ENDS_TOKEN[usize::from(byte)])
        .map_or(payload.len(), |len| from + len)
}

/// The bytes that cannot be in a number or a word.
static ENDS_TOKEN: [bool; 256] = {
    let mut ends = [false; 256];
    let bytes = b" \n\r\t,:[]{}\"";
    let mut i = 0;
    while i < bytes.len() {
        ends[bytes[i] as usize] = true;
        i += 1;
    }
    ends
};

#[cfg(test)]
mod tests {
    use super::{Limits, check as check_shape};
    use crate::codec::CodecErrorKind::{self, TooDeep, TooManyItems, Trailing, Truncated};

    #[track_caller]
    fn check(payload: &str, expected: Result<(), CodecErrorKind>) {
        let limits = Limits::default().depth_max(3).items_max(10);
        let found = check_shape(payload.as_bytes(), &limits).map_err(|error| error.kind());
        assert_eq!(found, expected, "{payload}");
    }

    #[test]
    fn the_depth_limit_counts_containers_and_is_inclusive() {
        check("[{\"a\": []}]", Ok(()));
        check("[[], [[]], [[]]]", Ok(()));
        check("[[[[", Err(TooDeep));
        check("{\"a\":{\"a\":{\"a\":{}}}}", Err(TooDeep));
    }

    #[test]
    fn the_item_limit_counts_every_value_and_key_and_is_inclusive() {
        check("[1,-2.5e3,true,null,\"x\",[],{},8,9]", Ok(()));
        check("[1,-2.5e3,true,null,\"x\",[],{},8,9,10]", Err(TooManyItems));
        check("{\"a\":1,\"b\":2,\"c\":3,\"d\":4}", Ok(()));
        check("{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}", Err(TooManyItems));
    }

    #[test]
    fn what_stands_in_a_string_is_not_structure() {
        check(r#"["[[[[[", "\"[[[[", "\\", "{\\\"", "1,2,3,4,5,6,7,8,9,10"]"#, Ok(()));
        check(r#"["\\", [[[]]]]"#, Err(TooDeep));
    }

    #[test]
    fn what_follows_the_value_is_trailing() {
        check(" {} \r\n\t", Ok(()));
        check("1", Ok(()));
        for trailing in ["1 2", "{} x", "{}}", "[],", "\"a\"\"b\"", "nullx \"", "[]\0"] {
            check(trailing, Err(Trailing));
        }
    }

    #[test]
    fn an_open_container_or_string_is_truncated() {
        for truncated in ["[", "[1", "{\"a\":{}", "\"abc", "\"abc\\", "\"abc\\\"", "[\"a"] {
            check(truncated, Err(Truncated));
        }
    }
}
