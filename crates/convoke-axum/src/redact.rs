use std::borrow::Cow;

/// What stands for a user and a password.
const HIDDEN: &str = "***";

/// A text whose URLs have no user and no password any more.
pub(crate) fn redacted(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        clean.push_str("://");
        // A password may hold any character but those that end a URL in a sentence, `@` included.
        let end = part.find(|c: char| c.is_whitespace() || "\"'`<>|".contains(c)).unwrap_or(part.len());
        match part[..end].rfind('@') {
            Some(at) => {
                clean.push_str(HIDDEN);
                clean.push_str(&part[at..]);
            }
            None => clean.push_str(part),
        }
    }
    Cow::Owned(clean)
}

#[cfg(test)]
mod tests {
    use super::redacted;

    #[test]
    fn users_and_passwords_of_urls_are_hidden_wherever_they_stand() {
        for (text, clean) in [
            ("connection refused", "connection refused"),
            ("redis://127.0.0.1:6379 is away", "redis://127.0.0.1:6379 is away"),
            ("`redis://u:p@ss/w@h:1/0` is away", "`redis://***@h:1/0` is away"),
            ("nats://a:b@one:4222, nats://two and me@home", "nats://***@one:4222, nats://two and me@home"),
            ("tls://token@host", "tls://***@host"),
        ] {
            assert_eq!(redacted(text), clean);
        }
    }
}
