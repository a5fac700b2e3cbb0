//! Where NATS and Redis are: the defaults, then the file, then the environment and the flags.
use std::path::Path;

use convoke_core::Profile;
use convoke_nats::{Auth, StoresConfig, Tls};
use figment::{
    Figment,
    providers::{Format, Toml},
};
use serde::Deserialize;

use crate::{Failure, cli::Global};

/// What every command knows of the system it looks at.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Environment or tenant.
    pub namespace: String,
    /// What the servers must survive.
    pub profile: Profile,
    /// How nodes talk to NATS.
    pub nats: convoke_nats::Config,
    /// How their stores use it.
    pub stores: StoresConfig,
    /// How nodes talk to Redis, where they do.
    pub redis: Option<convoke_redis::Config>,
}

/// The file.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    namespace: Option<String>,
    profile: Option<Profile>,
    nats: convoke_nats::Config,
    stores: StoresConfig,
    redis: Option<convoke_redis::Config>,
}

impl Settings {
    /// Reads the file, if there is one, and lets the flags override it.
    ///
    /// # Errors
    /// A sentence that names the key or the flag.
    pub fn load(flags: &Global) -> Result<Self, Failure> {
        let file = flags.config.as_deref().map_or_else(|| Ok(File::default()), read)?;
        let File { namespace, profile, mut nats, mut stores, redis } = file;
        let namespace = flags.namespace.clone().or(namespace).unwrap_or_else(|| stores.namespace.clone());
        stores.namespace.clone_from(&namespace);
        let profile = flags.profile.or(profile).unwrap_or(nats.profile);
        nats.profile = profile;
        if let Some(urls) = &flags.nats {
            nats.urls = convoke_nats::Config::new(urls).urls;
        }
        if let Some(auth) = auth(flags)? {
            nats.auth = auth;
        }
        if let Some(ca) = &flags.nats_ca {
            nats.tls = Tls::ca(ca);
        }
        let redis = redis_config(flags, redis, &namespace, profile)?;
        Ok(Self { namespace, profile, nats, stores, redis })
    }

    /// The same, with what the operator says of the servers.
    #[must_use]
    pub fn confirmed(&self, fsync: bool) -> Self {
        let mut settings = self.clone();
        settings.nats.fsync_confirmed |= fsync;
        if let Some(redis) = &mut settings.redis {
            redis.fsync_confirmed |= fsync;
        }
        settings
    }
}

fn read(path: &Path) -> Result<File, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("the configuration file {shown} cannot be read: {error}")))?;
    Figment::from(Toml::string(&text)).extract().map_err(|error| {
        let problems: Vec<_> = error
            .into_iter()
            .map(|error| match error.path.join(".") {
                path if path.is_empty() => error.kind.to_string(),
                path => format!("`{path}`: {}", error.kind),
            })
            .collect();
        Failure::usage(format!("the configuration {shown} cannot be used: {}", problems.join("; ")))
    })
}

fn auth(flags: &Global) -> Result<Option<Auth>, Failure> {
    match (&flags.nats_creds, &flags.nats_user, &flags.nats_password) {
        (None, None, None) => Ok(None),
        (Some(creds), None, None) => Ok(Some(Auth::CredentialsFile(creds.clone()))),
        (None, Some(user), Some(password)) => {
            Ok(Some(Auth::UserPassword { user: user.clone(), password: password.clone() }))
        }
        (None, ..) => {
            Err(Failure::usage("NATS needs both a user and a password: give --nats-user and --nats-password"))
        }
        (Some(_), ..) => {
            Err(Failure::usage("NATS takes a credentials file or a user with a password: give one of them"))
        }
    }
}

fn redis_config(
    flags: &Global,
    file: Option<convoke_redis::Config>,
    namespace: &str,
    profile: Profile,
) -> Result<Option<convoke_redis::Config>, Failure> {
    let mut config = match (&flags.redis, file) {
        (Some(url), Some(file)) => {
            let mut config = file;
            config.url.clone_from(url);
            config
        }
        (Some(url), None) => convoke_redis::Config::new(url).key_prefix(namespace),
        (None, Some(file)) => file,
        (None, None) if flags.redis_ca.is_some() => {
            return Err(Failure::usage("--redis-ca needs a server: give --redis as well"));
        }
        (None, None) => return Ok(None),
    };
    config.profile = profile;
    if let Some(ca) = &flags.redis_ca {
        config.tls_ca = Some(ca.clone());
    }
    Ok(Some(config))
}
