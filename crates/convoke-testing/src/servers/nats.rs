use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

use super::error::Error;
use super::instance::{Instance, Start, new_directory, on_a_free_port, write};
use super::{Tls, binary, skip};

/// The longest first line a server may send.
const INFO_BYTES_MAX: u64 = 64 * 1024;

/// A `nats-server` of this test's own, with JetStream and a store that is removed with it.
#[derive(Debug)]
pub struct NatsServer {
    instance: Instance,
    name: String,
    port: u16,
    tls: bool,
}

/// How a [`NatsServer`] is started.
#[derive(Debug, Clone)]
#[must_use = "nothing runs until it is started"]
pub struct NatsBuilder {
    authorization: Vec<String>,
    config: String,
    tls: Option<Tls>,
    jetstream: bool,
}

impl NatsServer {
    /// Starts a server without authentication, with JetStream on.
    ///
    /// # Errors
    ///
    /// [`Missing`](super::ErrorKind::Missing) when there is no program that is new enough, and
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn start() -> Result<Self, Error> {
        Self::builder().start().await
    }

    /// Like [`start`](Self::start), and `None` after a printed line when the program is missing.
    ///
    /// # Panics
    ///
    /// Panics when the program is missing although servers are required, and when it does not come up.
    pub async fn start_or_skip(test: &str) -> Option<Self> {
        Self::builder().start_or_skip(test).await
    }

    /// A server with credentials, TLS or settings of its own.
    pub fn builder() -> NatsBuilder {
        NatsBuilder { authorization: Vec::new(), config: String::new(), tls: None, jetstream: true }
    }

    /// Where clients connect, without credentials: `nats://127.0.0.1:<port>`, or `tls://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls { "tls" } else { "nats" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// The port it listens on; kept over restarts.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.instance.pid()
    }

    /// Its resident memory, in bytes.
    ///
    /// # Panics
    ///
    /// Panics when it does not run.
    #[must_use]
    #[track_caller]
    pub fn rss_bytes(&self) -> u64 {
        self.instance.rss_bytes()
    }

    /// Ends it with SIGKILL, and returns when it is gone.
    pub fn kill(&self) {
        self.instance.kill();
    }

    /// Stops it with SIGSTOP: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.instance.pause();
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.instance.resume();
    }

    /// Starts it again on the same port with the same store, after killing it if it still runs.
    ///
    /// # Errors
    ///
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.instance.relaunch()?;
        self.until_ready().await.map_err(Start::into_error)
    }

    async fn until_ready(&self) -> Result<(), Start> {
        self.instance.until_ready(|| greets(self.port, &self.name)).await
    }
}

impl NatsBuilder {
    /// Lets in `user` with `password`, and nobody without credentials. May be given several times.
    pub fn auth_user(mut self, user: &str, password: &str) -> Self {
        self.authorization.push(format!("{{ user: {}, password: {} }}", quoted(user), quoted(password)));
        self
    }

    /// Lets in whoever signs with the nkey of which `public` is the public half.
    pub fn nkey(mut self, public: &str) -> Self {
        self.authorization.push(format!("{{ nkey: {} }}", quoted(public)));
        self
    }

    /// Lets in whoever knows the token. The server allows no users beside it.
    pub fn token(self, token: &str) -> Self {
        let line = format!("authorization {{ token: {} }}", quoted(token));
        self.config_text(&line)
    }

    /// Adds lines in the server's own configuration language.
    pub fn config_text(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self.config.push('\n');
        self
    }

    /// Speaks TLS with these PEM files. With `verify`, clients need a certificate of the same authority.
    pub fn tls(
        mut self,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
        authority: impl AsRef<Path>,
        verify: bool,
    ) -> Self {
        self.tls = Some(Tls {
            certificate: certificate.as_ref().into(),
            key: key.as_ref().into(),
            authority: authority.as_ref().into(),
            verify_clients: verify,
        });
        self
    }

    /// Core NATS alone.
    pub fn no_jetstream(mut self) -> Self {
        self.jetstream = false;
        self
    }

    /// Starts it, and returns when it greets.
    ///
    /// # Errors
    ///
    /// [`Missing`](super::ErrorKind::Missing) when there is no program that is new enough, and
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn start(self) -> Result<NatsServer, Error> {
        let program = binary::locate(&binary::NATS)?;
        on_a_free_port(|port| self.start_on(port, program.clone())).await
    }

    /// Like [`start`](Self::start), and `None` after a printed line when the program is missing.
    ///
    /// # Panics
    ///
    /// Panics when the program is missing although servers are required, and when it does not come up.
    pub async fn start_or_skip(self, test: &str) -> Option<NatsServer> {
        skip::started_or_skipped(test, self.start().await)
    }

    async fn start_on(&self, port: u16, program: PathBuf) -> Result<NatsServer, Start> {
        let directory = new_directory()?;
        // A name of its own tells it from a stranger who was faster on the port.
        let name = format!("convoke-test-{}", uuid::Uuid::now_v7().simple());
        let config = directory.path().join("nats.conf");
        write(&config, &self.config())?;
        let shown = |path: &Path| path.display().to_string();
        let mut arguments = vec!["-c".into(), shown(&config), "-a".into(), Ipv4Addr::LOCALHOST.to_string()];
        arguments.extend(["-p".into(), port.to_string(), "--name".into(), name.clone()]);
        if self.jetstream {
            arguments.extend(["-js".into(), "-sd".into(), shown(&directory.path().join("store"))]);
        }
        let instance = Instance::launch(program, arguments, directory)?;
        let server = NatsServer { instance, name, port, tls: self.tls.is_some() };
        server.until_ready().await?;
        Ok(server)
    }

    fn config(&self) -> String {
        let mut text = self.config.clone();
        if !self.authorization.is_empty() {
            let _ = writeln!(text, "authorization {{ users: [ {} ] }}", self.authorization.join(", "));
        }
        if let Some(tls) = &self.tls {
            let path = |path: &Path| quoted(&path.display().to_string());
            let (certificate, key, authority) =
                (path(&tls.certificate), path(&tls.key), path(&tls.authority));
            let verify = tls.verify_clients;
            let _ = writeln!(
                text,
                "tls {{ cert_file: {certificate}, key_file: {key}, ca_file: {authority}, verify: {verify} }}"
            );
        }
        text
    }
}

/// Whether the server called `name` greets on `port`. The greeting is in the clear, also with TLS.
async fn greets(port: u16, name: &str) -> bool {
    let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else { return false };
    let mut line = String::new();
    let read = BufReader::new(stream.take(INFO_BYTES_MAX)).read_line(&mut line).await;
    read.is_ok() && line.starts_with("INFO ") && line.contains(name)
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
