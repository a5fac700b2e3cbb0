//! One place where the configuration is checked and becomes connect options.

use std::{fs, path::Path, time::Duration};

use async_nats::{ConnectOptions, ServerAddr};

use super::{Auth, Config, Tls};
use crate::Error;

/// Requests that async-nats holds for the connection's task; while the server is away they wait there.
const COMMANDS_MAX: usize = 2048;
/// Messages that may lie between the connection and the loop that reads a subscription. More are dropped.
const SUBSCRIPTION_MESSAGES_MAX: usize = 16 * 1024;
/// Longest time a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

impl Config {
    /// The servers, when everything else is right as well.
    pub(crate) fn check(&self) -> Result<Vec<ServerAddr>, Error> {
        self.check_numbers()?;
        if self.inbox_prefix.is_empty() || !self.inbox_prefix.split('.').all(crate::names::is_word) {
            return Err(Error::config(format!(
                "the inbox prefix {:?} is not a subject: use letters, digits, `-` and `_`, with dots between words",
                self.inbox_prefix
            )));
        }
        if self.urls.is_empty() {
            return Err(Error::config("no NATS address is given: name one such as nats://127.0.0.1:4222"));
        }
        self.urls.iter().map(|url| parse(url)).collect()
    }

    fn check_numbers(&self) -> Result<(), Error> {
        let positive = [
            ("publish_window", self.publish_window > 0),
            ("ping_interval", !self.ping_interval.is_zero()),
            ("ack_wait", self.ack_wait >= Duration::from_millis(100)),
            ("deliveries_max", self.deliveries_max >= 2 && i32::try_from(self.deliveries_max).is_ok()),
            ("events.max_age", self.events.max_age >= self.events.duplicate_window),
            ("events.event_bytes_max", i32::try_from(self.events.event_bytes_max).is_ok_and(|n| n > 0)),
            ("events.stream_bytes_max", i64::try_from(self.events.stream_bytes_max).is_ok_and(|n| n > 0)),
            ("jobs.waiting_max", i64::try_from(self.jobs.waiting_max).is_ok_and(|n| n > 0)),
            ("jobs.scheduled_max", self.jobs.scheduled_max > 0),
            ("jobs.stream_bytes_max", i64::try_from(self.jobs.stream_bytes_max).is_ok_and(|n| n > 0)),
            ("jobs.job_bytes_max", i32::try_from(self.jobs.job_bytes_max).is_ok_and(|n| n > 0)),
            ("dead.stream_bytes_max", i64::try_from(self.dead.stream_bytes_max).is_ok_and(|n| n > 0)),
            ("replicas", matches!(self.copies(), 1 | 3 | 5)),
        ];
        match positive.iter().find(|(_, fine)| !fine) {
            Some((name, _)) => {
                Err(Error::config(format!("`{name}` of the NATS configuration is out of range")))
            }
            None => self.check_copies(),
        }
    }

    fn check_copies(&self) -> Result<(), Error> {
        let (profile, copies, needed) = (self.profile, self.copies(), self.profile.replicas());
        if copies >= needed {
            return Ok(());
        }
        Err(Error::config(format!(
            "the profile `{profile}` needs {needed} copies, and `replicas` of the NATS configuration is {copies}: leave \
             `replicas` out, or choose the profile `fast`"
        )))
    }

    /// What async-nats is told. Reads the files, so that one that is missing is an error now.
    pub(crate) fn options(&self) -> Result<ConnectOptions, Error> {
        let delay_max = self.reconnect_delay_max;
        let options = ConnectOptions::new()
            .retry_on_initial_connect()
            .connection_timeout(HANDSHAKE)
            .client_capacity(COMMANDS_MAX)
            .subscription_capacity(SUBSCRIPTION_MESSAGES_MAX)
            .ping_interval(self.ping_interval)
            .custom_inbox_prefix(&self.inbox_prefix)
            .reconnect_delay_callback(move |attempt| reconnect_delay(attempt, delay_max));
        match &self.auth {
            // async-nats reads addresses but leaves out who stands in them.
            Auth::None => authenticate(protect(options, &self.tls)?, &in_address(&self.urls)?),
            auth => authenticate(protect(options, &self.tls)?, auth),
        }
    }
}

fn parse(url: &str) -> Result<ServerAddr, Error> {
    let shown = super::without_userinfo(url);
    let malformed = |why: String| {
        Error::config(format!("{shown:?} is not a NATS address ({why}): write it like nats://127.0.0.1:4222"))
    };
    let addr: ServerAddr = url.parse().map_err(|err: std::io::Error| malformed(err.to_string()))?;
    if !matches!(addr.scheme(), "nats" | "tls") {
        return Err(malformed(format!("its scheme is {}", addr.scheme())));
    }
    if addr.as_url_str().contains("://:") || addr.as_url_str().ends_with("://") {
        return Err(malformed("it has no host".to_owned()));
    }
    Ok(addr)
}

/// Who the first address with somebody before its `@` says we are: a user with a password, or a token.
fn in_address(urls: &[String]) -> Result<Auth, Error> {
    let userinfo = urls.iter().find_map(|url| {
        let authority = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        authority.rsplit_once('@').map(|(userinfo, _)| userinfo)
    });
    let Some(userinfo) = userinfo else { return Ok(Auth::None) };
    let read = |text: &str| {
        decoded(text).ok_or_else(|| {
            Error::config("the user or the password in the NATS address has a `%` that is not followed by two hex digits of UTF-8 text: write `%` as %25")
        })
    };
    Ok(match userinfo.split_once(':') {
        Some((user, password)) => Auth::UserPassword { user: read(user)?, password: read(password)? },
        None => Auth::Token(read(userinfo)?),
    })
}

/// A text without its percent signs.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// 0, then doubling from 20 ms to `max`, each shortened by up to a half so that nodes do not come back as one.
fn reconnect_delay(attempt: usize, max: Duration) -> Duration {
    if attempt <= 1 {
        return Duration::ZERO;
    }
    let doublings = u32::try_from(attempt - 2).unwrap_or(u32::MAX).min(16);
    crate::jitter::shortened(Duration::from_millis(20).saturating_mul(1 << doublings).min(max))
}

fn authenticate(options: ConnectOptions, auth: &Auth) -> Result<ConnectOptions, Error> {
    Ok(match auth {
        Auth::None => options,
        Auth::UserPassword { user, password } => options.user_and_password(user.clone(), password.clone()),
        Auth::Token(token) => options.token(token.clone()),
        Auth::NkeySeed(seed) => {
            let plausible =
                seed.len() == 58 && seed.starts_with("SU") && seed.bytes().all(|b| b.is_ascii_alphanumeric());
            if !plausible {
                return Err(Error::config(
                    "the nkey seed is malformed: a user's seed has 58 characters and starts with SU",
                ));
            }
            options.nkey(seed.clone())
        }
        Auth::CredentialsFile(path) => {
            let text = read(path, "credentials file")?;
            options.credentials(&text).map_err(|err| {
                Error::config(format!(
                    "the credentials file {} holds no JWT with its seed: {err}",
                    path.display()
                ))
            })?
        }
    })
}

fn protect(options: ConnectOptions, tls: &Tls) -> Result<ConnectOptions, Error> {
    let mut options = options.require_tls(tls.require);
    if let Some(ca) = &tls.ca {
        pem(ca, "CA file", "CERTIFICATE")?;
        options = options.add_root_certificates(ca.clone());
    }
    match (&tls.cert, &tls.key) {
        (Some(cert), Some(key)) => {
            pem(cert, "certificate", "CERTIFICATE")?;
            pem(key, "key", "PRIVATE KEY")?;
            options = options.add_client_certificate(cert.clone(), key.clone());
        }
        (None, None) => {}
        _ => return Err(Error::config("a client certificate needs both `tls.cert` and `tls.key`")),
    }
    Ok(options)
}

fn pem(path: &Path, what: &str, label: &str) -> Result<(), Error> {
    let text = read(path, what)?;
    if !text.contains(&format!("{label}-----")) {
        return Err(Error::config(format!("the {what} {} holds no PEM section {label}", path.display())));
    }
    Ok(())
}

fn read(path: &Path, what: &str) -> Result<String, Error> {
    fs::read_to_string(path)
        .map_err(|err| Error::config(format!("the {what} {} cannot be read: {err}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(config: &Config) -> String {
        match config.check().and_then(|_| config.options()) {
            Ok(_) => panic!("it is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_malformed_address_is_named_with_an_example() {
        for url in ["nats://", "http://x:4222", "nats://a b", "nats://[::1", "", "nats://host:99999"] {
            let text = refused(&Config::new(url));
            assert!(text.contains("nats://127.0.0.1:4222"), "{url:?}: {text}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let missing = Auth::CredentialsFile("missing/app.creds".into());
        let text = refused(&Config::default().auth(missing));
        assert!(text.starts_with("the credentials file missing/app.creds cannot be read"), "{text}");
        let text = refused(&Config::default().tls(Tls::ca("missing/ca.pem")));
        assert!(text.starts_with("the CA file missing/ca.pem cannot be read"), "{text}");
    }

    #[test]
    fn an_address_may_say_who_we_are() {
        let auth = |url: &str| format!("{:?}", in_address(&[url.to_owned()]).expect("it can be read"));
        assert_eq!(auth("nats://127.0.0.1:4222"), "None");
        assert_eq!(auth("nats://bob:p@127.0.0.1:4222"), "UserPassword(\"bob\", ***)");
        assert_eq!(auth("nats://t0ken@127.0.0.1:4222"), "Token(***)");
        let Ok(Auth::UserPassword { user, password }) = in_address(&["nats://b%40b:p%3A%2f@h".to_owned()])
        else {
            panic!("a user with a password")
        };
        assert_eq!((user.as_str(), password.as_str()), ("b@b", "p:/"));
        let text = refused(&Config::new("nats://bob:50%@h"));
        assert!(text.contains("%25") && !text.contains("50%@"), "{text}");
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        assert!(refused(&Config::default().publish_window(0)).contains("publish_window"));
        assert!(refused(&Config::default().replicas(2)).contains("replicas"));
        let text = refused(&Config::default().profile(convoke_core::Profile::Ha).replicas(1));
        assert!(text.contains("`ha` needs 3 copies") && text.contains("is 1"), "{text}");
        assert!(refused(&Config::default().inbox_prefix("a b")).contains("inbox prefix"));
        assert!(refused(&Config::default().auth(Auth::NkeySeed("UABC".into()))).contains("nkey seed"));
    }

    #[test]
    fn pauses_between_attempts_grow_to_the_limit() {
        let max = Duration::from_secs(2);
        assert_eq!(reconnect_delay(1, max), Duration::ZERO);
        for attempt in 2..100 {
            let delay = reconnect_delay(attempt, max);
            assert!(delay >= Duration::from_millis(10) && delay <= max, "{attempt}: {delay:?}");
        }
    }
}
