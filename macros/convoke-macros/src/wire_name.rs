//! The words that travel as subjects: wire names of messages, and names of groups.

/// Longest wire name, in bytes: it is part of subjects, of consumer names and of dead letters' subjects.
const NAME_BYTES_MAX: usize = 128;
/// Longest name of a group, in bytes: it is part of a consumer's name.
const GROUP_BYTES_MAX: usize = 64;

/// Checks a message's wire name.
///
/// # Errors
/// What is wrong, and the name as it could be written.
pub(crate) fn check(name: &str, example: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("a wire name is not empty: write one such as `{example}`"));
    }
    if name.len() > NAME_BYTES_MAX {
        let bytes = name.len();
        return Err(format!("a wire name has at most {NAME_BYTES_MAX} bytes, and this one has {bytes}"));
    }
    let words: Vec<_> = name.split('.').collect();
    let problem = if let Some(word) = words.iter().find(|word| !is_word(word)) {
        match word.is_empty() {
            true => "there is a dot too many".to_owned(),
            false => format!("`{word}` is not lower-case letters, digits, `_` and `-`"),
        }
    } else if !words.last().is_some_and(|last| is_version(last)) {
        "the version at the end is missing".to_owned()
    } else if words.len() == 1 {
        "the words before the version are missing".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("{problem}: write `{}`", corrected(&words, example)))
}

/// Checks the name of a group: one word.
///
/// # Errors
/// What is wrong, and the name as it could be written.
pub(crate) fn check_group(group: &str) -> Result<(), String> {
    if group.is_empty() {
        return Err("a group has a name: write one such as `billing`".to_owned());
    }
    if group.len() > GROUP_BYTES_MAX {
        let bytes = group.len();
        return Err(format!("a group's name has at most {GROUP_BYTES_MAX} bytes, and this one has {bytes}"));
    }
    if is_word(group) {
        return Ok(());
    }
    let better = Some(word(group)).filter(|word| !word.is_empty()).unwrap_or_else(|| "billing".to_owned());
    Err(format!("a group's name is one word of lower-case letters, digits, `_` and `-`: write `{better}`"))
}

fn is_word(word: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
    !word.is_empty() && word.bytes().all(allowed)
}

/// `v1`, but not `v01`.
fn is_version(word: &str) -> bool {
    let number = word.strip_prefix('v').unwrap_or_default();
    number.parse::<u32>().is_ok_and(|version| version.to_string() == number)
}

/// The nearest valid name.
fn corrected(words: &[&str], example: &str) -> String {
    let mut words: Vec<_> = words.iter().map(|text| word(text)).filter(|word| !word.is_empty()).collect();
    let version = words.pop_if(|last| is_version(last)).unwrap_or_else(|| "v1".to_owned());
    match words.is_empty() {
        true => example.to_owned(),
        false => format!("{}.{version}", words.join(".")),
    }
}

/// `place-order` for `PlaceOrder` and for `place order`.
fn word(text: &str) -> String {
    let mut word = String::with_capacity(text.len());
    let mut before = '-';
    for c in text.chars() {
        if c.is_ascii_uppercase() && before.is_ascii_lowercase() {
            word.push('-');
        }
        let valid = c.is_ascii_alphanumeric() || c == '_';
        if valid {
            word.push(c.to_ascii_lowercase());
        } else if !word.ends_with('-') {
            word.push('-');
        }
        before = c;
    }
    word.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(name: &str) -> String {
        check(name, "orders.place.v1").expect_err("the name is wrong")
    }

    #[test]
    fn words_and_a_version_are_a_wire_name() {
        for name in ["orders.place.v1", "a.v0", "multi-word.snake_word.9.v12", "orders.v2.v3"] {
            assert_eq!(check(name, ""), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_wrong_word_is_named_and_corrected() {
        assert_eq!(
            problem("Orders.PlaceOrder.v2"),
            "`Orders` is not lower-case letters, digits, `_` and `-`: write `orders.place-order.v2`"
        );
        assert_eq!(
            problem("orders placed"),
            "`orders placed` is not lower-case letters, digits, `_` and `-`: write `orders-placed.v1`"
        );
        assert_eq!(
            problem("orders.*.>"),
            "`*` is not lower-case letters, digits, `_` and `-`: write `orders.v1`"
        );
        assert_eq!(
            problem("größe.v1"),
            "`größe` is not lower-case letters, digits, `_` and `-`: write `gr-e.v1`"
        );
    }

    #[test]
    fn an_empty_word_is_a_dot_too_many() {
        for name in [".orders.place.v1", "orders..place.v1", "orders.place.v1."] {
            assert_eq!(problem(name), "there is a dot too many: write `orders.place.v1`", "{name}");
        }
    }

    #[test]
    fn a_name_ends_with_its_version() {
        for name in ["orders.place", "orders.place.", "orders.place.v1.x", "orders.v", "orders.v01"] {
            let corrected = problem(name).split('`').rev().nth(1).map(str::to_owned);
            let corrected = corrected.expect("the text ends with a name");
            assert_eq!(check(&corrected, ""), Ok(()), "{corrected}");
        }
        assert_eq!(problem("orders.place"), "the version at the end is missing: write `orders.place.v1`");
        assert_eq!(problem("v1"), "the words before the version are missing: write `orders.place.v1`");
        assert_eq!(problem(""), "a wire name is not empty: write one such as `orders.place.v1`");
    }

    #[test]
    fn a_wire_name_is_bounded() {
        let longest = format!("{}.v1", "a".repeat(NAME_BYTES_MAX - 3));
        assert_eq!(check(&longest, ""), Ok(()));
        assert_eq!(
            problem(&format!("a{longest}")),
            "a wire name has at most 128 bytes, and this one has 129"
        );
    }

    #[test]
    fn a_group_is_one_word() {
        assert_eq!(check_group("billing_2-x"), Ok(()));
        assert_eq!(check_group(&"a".repeat(GROUP_BYTES_MAX)), Ok(()));
        assert!(check_group(&"a".repeat(GROUP_BYTES_MAX + 1)).is_err());
        for (wrong, better) in [("Billing", "billing"), ("a.b", "a-b"), ("*", "billing")] {
            let text = check_group(wrong).expect_err("the group is wrong");
            assert!(text.ends_with(&format!("write `{better}`")), "{text}");
        }
    }
}
