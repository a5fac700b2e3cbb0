use convoke::Invalid;
use garde::Validate;

/// Checks a message with garde, and names its fields as JSON has them: `items[0].unitPrice`, not `unit_price`.
pub(crate) fn by_json_name<T: Validate<Context = ()>>(message: &T) -> Result<(), Invalid> {
    message.validate().map_err(|report| {
        report.iter().fold(Invalid::default(), |invalid, (path, error)| {
            invalid.and(camel_case(&path.to_string()), error.message())
        })
    })
}

fn camel_case(path: &str) -> String {
    let mut words = path.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let (initial, rest) = word.split_at(word.chars().next().map_or(0, char::len_utf8));
        name + &initial.to_uppercase() + rest
    })
}

#[cfg(test)]
mod tests {
    use super::camel_case;

    #[test]
    fn each_word_after_the_first_begins_with_a_capital() {
        assert_eq!(camel_case("items[0].unit_price"), "items[0].unitPrice");
        assert_eq!(camel_case("customer_id"), "customerId");
        assert_eq!(camel_case("limit"), "limit");
        assert_eq!(camel_case(""), "");
    }
}
