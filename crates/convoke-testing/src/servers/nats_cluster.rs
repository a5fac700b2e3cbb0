use std::time::Duration;

use async_nats::jetstream;
use tokio::time::{Instant, sleep, timeout};

use super::error::Error;
use super::instance::STARTS_MAX;
use super::nats::{NatsBuilder, NatsServer};
use super::{binary, port, skip};

const SERVERS: usize = 3;
/// How long the servers may take to choose a leader and see each other.
const READY_WITHIN: Duration = Duration::from_secs(30);
const PROBE_WITHIN: Duration = Duration::from_secs(2);
const PROBE_EVERY: Duration = Duration::from_millis(50);
/// A stream with a copy on each server can be made when all of them are there.
const PROBE_STREAM: &str = "CONVOKE_TEST_READY";

/// Three `nats-server`s of this test's own that form a cluster with JetStream.
#[derive(Debug)]
pub struct NatsCluster {
    servers: Vec<NatsServer>,
}

impl NatsCluster {
    /// Starts three servers, and returns when they keep streams with three copies.
    ///
    /// # Errors
    ///
    /// [`Missing`](super::ErrorKind::Missing) when there is no program that is new enough, and
    /// [`Failed`](super::ErrorKind::Failed) when they do not come up.
    pub async fn start() -> Result<Self, Error> {
        Self::start_with(NatsServer::builder()).await
    }

    /// The same with settings that all of them get.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub async fn start_with(builder: NatsBuilder) -> Result<Self, Error> {
        binary::locate(&binary::NATS)?;
        let mut tries = 1;
        loop {
            match Self::try_start(&builder).await {
                // somebody else may have been faster on one of the ports between the servers
                Err(_) if tries < STARTS_MAX => tries += 1,
                started => return started,
            }
        }
    }

    /// Like [`start`](Self::start), and `None` after a printed line when the program is missing.
    ///
    /// # Panics
    ///
    /// Panics when the program is missing although servers are required, and when they do not come up.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        skip::started_or_skipped(test, Self::start().await)
    }

    /// Where clients connect: all three addresses, with commas between them.
    #[must_use]
    pub fn url(&self) -> String {
        self.servers.iter().map(NatsServer::url).collect::<Vec<_>>().join(",")
    }

    /// Each of them, to be killed, stopped and restarted.
    #[must_use]
    pub fn servers(&self) -> &[NatsServer] {
        &self.servers
    }

    async fn try_start(builder: &NatsBuilder) -> Result<Self, Error> {
        let ports = (0..SERVERS).map(|_| port::free()).collect::<Result<Vec<_>, _>>()?;
        let routes: Vec<_> = ports.iter().map(|port| format!("\"nats-route://127.0.0.1:{port}\"")).collect();
        let routes = routes.join(", ");
        let mut servers = Vec::with_capacity(SERVERS);
        for port in ports {
            let cluster =
                format!("cluster {{ name: tests, listen: \"127.0.0.1:{port}\", routes: [ {routes} ] }}");
            servers.push(builder.clone().config_text(&cluster).start().await?);
        }
        let cluster = Self { servers };
        cluster.until_ready().await?;
        Ok(cluster)
    }

    async fn until_ready(&self) -> Result<(), Error> {
        let deadline = Instant::now() + READY_WITHIN;
        let mut last = "nothing was asked".to_owned();
        while Instant::now() < deadline {
            match timeout(PROBE_WITHIN, self.probe()).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => last = error,
                Err(_) => "no answer".clone_into(&mut last),
            }
            sleep(PROBE_EVERY).await;
        }
        Err(Error::failed(format!("the cluster was not ready in {READY_WITHIN:?}: {last}")))
    }

    async fn probe(&self) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let client = async_nats::connect(self.servers[0].url()).await.map_err(|error| text(&error))?;
        let context = jetstream::new(client);
        let config = jetstream::stream::Config {
            name: PROBE_STREAM.into(),
            subjects: vec![PROBE_STREAM.into()],
            num_replicas: SERVERS,
            ..Default::default()
        };
        context.get_or_create_stream(config).await.map_err(|error| text(&error))?;
        let stored = context.publish(PROBE_STREAM, "".into()).await.map_err(|error| text(&error))?;
        stored.await.map_err(|error| text(&error))?;
        context.delete_stream(PROBE_STREAM).await.map_err(|error| text(&error)).map(drop)
    }
}
