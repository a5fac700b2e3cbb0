//! One node of many: NATS carries its messages; Redis, or else NATS, keeps what must not be forgotten.
use std::{sync::Arc, time::Duration};

use convoke::{
    App, Error, Stores, Transport,
    http::{ServeConfig, TlsConfig, bearer, rate_limit},
    nats, redis,
};

use crate::{
    Effects, EventFeed, Repository, app,
    cluster::Membership,
    http::{Guards, InCluster},
    repository::{JetStreamOrders, RedisOrders},
    running::{Http, Running, listen, node_config},
    settings::{HttpSettings, Settings},
};

/// How long Redis may take: longer than a busy disk needs for a sync, so that it fails no order, and shorter than a
/// caller's attempt.
const REDIS_WITHIN: Duration = Duration::from_millis(2500);

/// Starts a node. Servers that are away are waited for in the background.
///
/// # Errors
/// What is wrong for good, as a sentence that says what to do.
pub async fn start(settings: &Settings) -> Result<Running, Error> {
    if settings.cluster.enabled && !settings.cluster.nats {
        return start_without_bus(settings).await;
    }
    start_on(settings, |transport, stores| (transport, stores)).await
}

/// A node of a cluster, with nothing else: nodes ask the leader over HTTP, and the cluster keeps the orders. Events stay
/// on the node that published them, and a key counts on the node it was sent to.
async fn start_without_bus(settings: &Settings) -> Result<Running, Error> {
    let effects = effects(settings)?;
    let http = http(settings).await?;
    let membership = Membership::start(settings).await?;
    let Some(membership) = membership else { return Err(Error::start("the settings speak of no cluster")) };
    let (orders, feed) = (membership.orders(), EventFeed::default());
    let app = named(app(orders.clone(), feed.clone(), effects), settings);
    let app = membership.without_bus(membership.join(app, orders.clone()));
    Running::start(app, feed, Http { cluster: Some(InCluster { membership, orders }), ..http }).await
}

/// The same on what `around` makes of the transport and the stores.
///
/// # Errors
/// As for [`start`].
pub async fn start_on<T: Transport>(
    settings: &Settings,
    around: impl FnOnce(nats::Transport, Stores) -> (T, Stores),
) -> Result<Running, Error> {
    // What needs nobody else comes first, so that a mistake is told at once.
    let effects = effects(settings)?;
    let mut http = http(settings).await?;
    let config = nats_config(settings)?;
    let transport = nats::Transport::connect_with(config).await.map_err(start_error)?;
    let (stores, repository) = keepers(settings, &transport).await?;
    let (transport, stores) = around(transport, stores);
    let feed = EventFeed::default();
    let app = app(repository.clone(), feed.clone(), effects).transport(transport).stores(stores);
    let mut app = named(app, settings);
    if let Some(membership) = Membership::start(settings).await? {
        app = membership.join(app, repository.clone());
        http.cluster = Some(InCluster { membership, orders: repository });
    }
    Running::start(app, feed, http).await
}

fn named(app: App, settings: &Settings) -> App {
    let app = app.config(node_config(&settings.namespace));
    match &settings.node {
        Some(node) => app.node(node),
        None => app,
    }
}

fn effects(settings: &Settings) -> Result<Effects, Error> {
    let effects = settings.effects_url.as_deref().map_or_else(|| Ok(Effects::default()), Effects::to);
    effects.map_err(Error::start)
}

async fn http(settings: &Settings) -> Result<Http, Error> {
    Ok(Http {
        config: serve_config(&settings.http)?,
        guards: guards(settings)?,
        role: settings.role,
        listener: listen(&settings.listen, "--listen").await?,
        cluster: None,
    })
}

/// Who remembers what was done, and who keeps the orders: the same one.
async fn keepers(settings: &Settings, transport: &nats::Transport) -> Result<(Stores, Repository), Error> {
    let namespace = &settings.namespace;
    if let Some(config) = redis_config(settings) {
        let stores = redis::Stores::connect_with(config).await.map_err(start_error)?;
        let orders = RedisOrders::new(&stores.connection(), namespace);
        return Ok((stores.into(), Arc::new(orders)));
    }
    let copies = nats_config(settings)?.copies();
    let orders = JetStreamOrders::new(transport.jetstream(), namespace, copies);
    let stores = transport.stores_with(nats::StoresConfig::new(namespace)).map_err(start_error)?;
    Ok((stores.into(), Arc::new(orders)))
}

fn nats_config(Settings { profile, nats: settings, .. }: &Settings) -> Result<nats::Config, Error> {
    let mut config = nats::Config::new(&settings.url.0).profile(*profile);
    config.replicas = settings.replicas;
    config.fsync_confirmed = settings.fsync_confirmed;
    let config = match &settings.ca {
        Some(ca) => config.tls(nats::Tls::ca(ca)),
        None => config,
    };
    let auth = match (&settings.creds, &settings.user, &settings.password) {
        (None, None, None) => nats::Auth::None,
        (Some(creds), None, None) => nats::Auth::CredentialsFile(creds.clone()),
        (None, Some(user), Some(password)) => {
            nats::Auth::UserPassword { user: user.clone(), password: password.0.clone() }
        }
        (None, ..) => {
            return Err(Error::start(
                "NATS needs both a user and a password: give --nats-user and --nats-password",
            ));
        }
        (Some(_), ..) => {
            return Err(Error::start(
                "NATS takes a credentials file or a user with a password: give one of them",
            ));
        }
    };
    Ok(config.auth(auth))
}

fn redis_config(Settings { profile, namespace, redis: settings, .. }: &Settings) -> Option<redis::Config> {
    let config = redis::Config::new(&settings.url.as_ref()?.0).key_prefix(namespace).profile(*profile);
    let mut config = config.command_timeout(REDIS_WITHIN);
    config.fsync_confirmed = settings.fsync_confirmed;
    Some(match &settings.ca {
        Some(ca) => config.tls_ca(ca),
        None => config,
    })
}

fn serve_config(http: &HttpSettings) -> Result<ServeConfig, Error> {
    let config = ServeConfig::default().drain_delay(http.drain_delay);
    match (&http.tls_cert, &http.tls_key) {
        (None, None) => Ok(config),
        (Some(cert), Some(key)) => Ok(config.tls(TlsConfig::new(cert, key))),
        _ => Err(Error::start("HTTPS needs a certificate and its key: give both --tls-cert and --tls-key")),
    }
}

fn guards(settings: &Settings) -> Result<Guards, Error> {
    let tokens = settings.bearer_tokens().map_err(Error::start)?;
    let bearer = (!tokens.is_empty()).then(|| bearer(tokens)).transpose().map_err(start_error)?;
    // A second's worth at once: a page that loads several things is no attack.
    let rate_limit = settings.http.rate_limit.map(|n| rate_limit(n, n)).transpose().map_err(start_error)?;
    Ok(Guards { bearer, rate_limit })
}

fn start_error(error: impl std::error::Error) -> Error {
    Error::start(error.to_string())
}
