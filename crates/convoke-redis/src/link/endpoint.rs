use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::Profile;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::cluster::{ClusterClientBuilder, ClusterConfig};
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, IntoConnectionInfo,
    ProtocolVersion, PushInfo, PushKind, RedisResult, TlsCertificates, Value,
};

use super::Wire;
use crate::Error;
use crate::config::Config;
use crate::waiters::Waiters;

const KEEPALIVE_AFTER: Duration = Duration::from_secs(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(2);
/// How long the kernel tries to get something through.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a lost connection is made again before the calls that wait for it are told, and how fast.
const RECONNECTS: usize = 2;
const RECONNECT_PAUSE_MIN: Duration = Duration::from_millis(50);
const RECONNECT_PAUSE_MAX: Duration = Duration::from_millis(250);
/// How often a cluster call follows a redirection.
const REDIRECTIONS_MAX: u32 = 4;

/// Where Redis is, and how to connect to it.
pub(crate) struct Endpoint {
    nodes: Vec<ConnectionInfo>,
    certificates: Option<TlsCertificates>,
    pub(crate) cluster: bool,
    connect_timeout: Duration,
    attempt_timeout: Duration,
    /// What the start check refuses.
    pub(crate) profile: Profile,
    pub(crate) fsync_confirmed: bool,
}

impl Endpoint {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        config.validate()?;
        let nodes = config.url.split(',').map(|url| node(url.trim())).collect::<Result<Vec<_>, _>>()?;
        let tls = nodes.iter().any(|node| matches!(node.addr(), ConnectionAddr::TcpTls { .. }));
        let certificates = certificates(config)?;
        if certificates.is_some() && !tls {
            return Err(Error::invalid(
                "redis: tls_ca, tls_cert and tls_key need a URL that begins with rediss://",
            ));
        }
        if tls {
            // With several providers linked in, or none chosen, rustls panics instead of choosing.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let cluster = config.cluster || nodes.len() > 1;
        let (connect_timeout, attempt_timeout) = (config.connect_timeout, config.attempt_timeout);
        let (profile, fsync_confirmed) = (config.profile, config.fsync_confirmed);
        Ok(Self { nodes, certificates, cluster, connect_timeout, attempt_timeout, profile, fsync_confirmed })
    }

    /// A connection that is made when it is first used. What it is told is passed on to those who wait.
    pub(super) fn wire(&self, waiters: &Arc<Waiters>) -> RedisResult<Wire> {
        let waiters = Arc::clone(waiters);
        let told = move |push: PushInfo| {
            if let Some(record) = changed_record(&push) {
                waiters.wake(record);
            }
            Ok::<(), redis::aio::SendError>(())
        };
        if !self.cluster {
            let config = ConnectionManagerConfig::new()
                .set_number_of_retries(RECONNECTS)
                .set_min_delay(RECONNECT_PAUSE_MIN)
                .set_max_delay(RECONNECT_PAUSE_MAX)
                .set_connection_timeout(Some(self.connect_timeout))
                // Each call has its own.
                .set_response_timeout(None)
                .set_push_sender(told)
                .set_automatic_resubscription();
            let client = self.client(&self.nodes[0])?;
            return ConnectionManager::new_lazy_with_config(client, config).map(Wire::Single);
        }
        let client = self.cluster_client().push_sender(told).build()?;
        Ok(Wire::Cluster(client.get_pending_async_connection_with_config(ClusterConfig::new())))
    }

    /// A client of each server that was named, and what to call it.
    pub(crate) fn clients(&self) -> impl Iterator<Item = RedisResult<(Client, String)>> {
        self.nodes.iter().map(|node| Ok((self.client(node)?, node.addr().to_string())))
    }

    /// How such a client connects.
    pub(crate) fn connecting(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.attempt_timeout))
    }

    /// The client of a cluster, but for where it tells what it is told.
    fn cluster_client(&self) -> ClusterClientBuilder {
        let mut builder = ClusterClientBuilder::new(self.nodes.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(tcp_settings())
            .connection_timeout(self.connect_timeout)
            .response_timeout(self.attempt_timeout)
            .retries(REDIRECTIONS_MAX);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        builder
    }

    fn client(&self, node: &ConnectionInfo) -> RedisResult<Client> {
        match &self.certificates {
            Some(certificates) => Client::build_with_tls(node.clone(), certificates.clone()),
            None => Client::open(node.clone()),
        }
    }
}

fn node(url: &str) -> Result<ConnectionInfo, Error> {
    // Neither the URL nor the parser's own words: both may hold the password.
    let malformed = || {
        Error::invalid(
            "redis: the URL is malformed; write redis://host:6379 or rediss://user:password@host:6379/0, \
             with special characters of the password percent-encoded",
        )
    };
    let info = url.into_connection_info().map_err(|_| malformed())?;
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(Error::invalid("redis: #insecure is not supported; give the authority with tls_ca"));
    }
    let redis = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let redis = redis.set_lib_name("convoke", env!("CARGO_PKG_VERSION"));
    Ok(info.set_redis_settings(redis).set_tcp_settings(tcp_settings()))
}

fn tcp_settings() -> TcpSettings {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_AFTER).with_interval(KEEPALIVE_EVERY);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

fn certificates(config: &Config) -> Result<Option<TlsCertificates>, Error> {
    let read = |path: &Path| {
        std::fs::read(path)
            .map_err(|error| Error::invalid(format!("redis: {} cannot be read: {error}", path.display())))
    };
    let root_cert = config.tls_ca.as_deref().map(read).transpose()?;
    let client_tls = match (&config.tls_cert, &config.tls_key) {
        (Some(cert), Some(key)) => Some(ClientTlsConfig { client_cert: read(cert)?, client_key: read(key)? }),
        _ => None,
    };
    let any = root_cert.is_some() || client_tls.is_some();
    Ok(any.then_some(TlsCertificates { client_tls, root_cert }))
}

/// What [`Keys::claim`](crate::keys::Keys::claim) calls the record, as `complete` and `release` tell it.
fn changed_record(push: &PushInfo) -> Option<u64> {
    match (&push.kind, push.data.last()) {
        (PushKind::Message, Some(Value::BulkString(said))) => {
            u64::from_str_radix(std::str::from_utf8(said).ok()?, 16).ok()
        }
        _ => None,
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.addr().to_string()).collect();
        f.debug_struct("Endpoint")
            .field("nodes", &nodes)
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(config: Config, expected: &str) {
        let error = Endpoint::new(&config).expect_err("it is wrong").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
    }

    #[test]
    fn a_malformed_url_is_told_without_its_password() {
        for url in [
            "",
            "redis",
            "http://u:s3cret@h:1",
            "redis://u:s3cret@",
            "redis://u:s3cret@h:port",
            "redis://u:s3cret@h/x",
        ] {
            check(Config::new(url), "URL");
        }
    }

    #[test]
    fn what_does_not_go_together_is_told() {
        check(Config::new("redis://h").tls_ca("Cargo.toml"), "rediss://");
        check(Config::new("rediss://h").tls_ca("no/such.pem"), "no/such.pem");
        check(Config::new("rediss://h/#insecure"), "tls_ca");
    }

    #[test]
    fn connections_do_not_wait_to_fill_packets_and_notice_a_dead_peer() {
        for url in ["redis://a:1", "redis://a:1,redis://b:1"] {
            for node in Endpoint::new(&Config::new(url)).expect("it is fine").nodes {
                let settings = node.tcp_settings();
                assert!(settings.nodelay() && settings.keepalive().is_some(), "{url}");
                #[cfg(target_os = "linux")]
                assert_eq!(settings.user_timeout(), Some(USER_TIMEOUT), "{url}");
            }
        }
        // a cluster's client has them once for the nodes that are named and once for those that it finds
        let cluster = Endpoint::new(&Config::new("redis://a:1").cluster()).expect("it is fine");
        let shown = format!("{:?}", cluster.cluster_client());
        assert_eq!(shown.matches(&format!("{:?}", tcp_settings())).count(), 2, "{shown}");
    }

    #[test]
    fn several_urls_are_a_cluster() {
        let cluster = |config| Endpoint::new(&config).expect("it is fine").cluster;
        assert!(!cluster(Config::new("redis://a:1")));
        assert!(cluster(Config::new("redis://a:1, redis://b:1")));
        assert!(cluster(Config::new("redis://a:1").cluster()));
    }
}
