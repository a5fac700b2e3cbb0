use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::error::Error;
use super::instance::{Instance, Start, new_directory, on_a_free_port, write};
use super::{Tls, binary, port, skip};

mod control;
use control::Control;

/// A `redis-server` of this test's own.
#[derive(Debug)]
pub struct RedisServer {
    instance: Instance,
    control: Control,
    port: u16,
    tls: bool,
    cluster: bool,
}

/// How a [`RedisServer`] is started.
#[derive(Debug, Clone)]
#[must_use = "nothing runs until it is started"]
pub struct RedisBuilder {
    user: Option<(String, String)>,
    tls: Option<Tls>,
    append_only: bool,
    cluster: bool,
    options: String,
}

impl RedisServer {
    /// Starts a server without authentication that keeps nothing on disk.
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

    /// A server with users, TLS, a log on disk, or in cluster mode.
    pub fn builder() -> RedisBuilder {
        RedisBuilder { user: None, tls: None, append_only: false, cluster: false, options: String::new() }
    }

    /// Where clients connect, without credentials: `redis://127.0.0.1:<port>`, or `rediss://` with TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.port)
    }

    /// The same with credentials in it. They are taken as they are, so keep them to letters and digits.
    #[must_use]
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("{}://{user}:{password}@127.0.0.1:{}", self.scheme(), self.port)
    }

    fn scheme(&self) -> &'static str {
        if self.tls { "rediss" } else { "redis" }
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

    /// Starts it again on the same port in the same directory, after killing it if it still runs.
    ///
    /// Without [`append_only`](RedisBuilder::append_only) it comes back empty.
    ///
    /// # Errors
    ///
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn restart(&self) -> Result<(), Error> {
        self.instance.relaunch()?;
        self.until_ready().await.map_err(Start::into_error)
    }

    /// Runs one command over the server's own socket, which no proxy or TLS set-up stands in front of, and returns
    /// the raw reply.
    ///
    /// # Errors
    ///
    /// [`Failed`](super::ErrorKind::Failed) when it does not answer within five seconds.
    pub async fn ask(&self, command: &str) -> Result<String, Error> {
        self.control.ask(command).await
    }

    async fn until_ready(&self) -> Result<(), Start> {
        let probe = async || {
            if self.cluster { self.control.owns_all_slots().await } else { self.control.answers().await }
        };
        self.instance.until_ready(probe).await
    }
}

impl RedisBuilder {
    /// Lets in `user` with `password`, with every right, and nobody else.
    pub fn acl_user(mut self, user: &str, password: &str) -> Self {
        self.user = Some((user.into(), password.into()));
        self
    }

    /// Lets in whoever knows the password (`requirepass`).
    pub fn password(self, password: &str) -> Self {
        self.acl_user("default", password)
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

    /// Keeps a log on disk, so that a restart finds what was there.
    pub fn append_only(mut self) -> Self {
        self.append_only = true;
        self
    }

    /// One node in cluster mode that owns all 16384 slots.
    pub fn cluster(mut self) -> Self {
        self.cluster = true;
        self
    }

    /// Adds a line of the server's own configuration, as in `option("maxmemory-policy", "allkeys-lru")`.
    pub fn option(mut self, name: &str, value: &str) -> Self {
        let _ = writeln!(self.options, "{name} {value}");
        self
    }

    /// Starts it, and returns when it answers.
    ///
    /// # Errors
    ///
    /// [`Missing`](super::ErrorKind::Missing) when there is no program that is new enough, and
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn start(self) -> Result<RedisServer, Error> {
        let program = binary::locate(&binary::REDIS)?;
        on_a_free_port(|port| self.start_on(port, program.clone())).await
    }

    /// Like [`start`](Self::start), and `None` after a printed line when the program is missing.
    ///
    /// # Panics
    ///
    /// Panics when the program is missing although servers are required, and when it does not come up.
    pub async fn start_or_skip(self, test: &str) -> Option<RedisServer> {
        skip::started_or_skipped(test, self.start().await)
    }

    async fn start_on(&self, port: u16, program: PathBuf) -> Result<RedisServer, Start> {
        let directory = new_directory()?;
        let socket = directory.path().join("control");
        let config = directory.path().join("redis.conf");
        write(&config, &self.config(port, directory.path(), &socket)?)?;
        let control = Control::new(socket, self.user.clone());
        let instance = Instance::launch(program, vec![config.display().to_string()], directory)?;
        let (tls, cluster) = (self.tls.is_some(), self.cluster);
        let server = RedisServer { instance, control, port, tls, cluster };
        server.until_ready().await?;
        Ok(server)
    }

    fn config(&self, port: u16, directory: &Path, socket: &Path) -> Result<String, Error> {
        let mut text = String::from("bind 127.0.0.1\nsave \"\"\n");
        let append_only = if self.append_only { "yes" } else { "no" };
        let _ = writeln!(text, "dir {:?}\nunixsocket {socket:?}\nappendonly {append_only}", directory);
        match &self.tls {
            None => drop(writeln!(text, "port {port}")),
            Some(tls) => {
                let verify = if tls.verify_clients { "yes" } else { "no" };
                let _ = writeln!(text, "port 0\ntls-port {port}\ntls-auth-clients {verify}");
                let (certificate, key, authority) = (&tls.certificate, &tls.key, &tls.authority);
                let _ = writeln!(
                    text,
                    "tls-cert-file {certificate:?}\ntls-key-file {key:?}\ntls-ca-cert-file {authority:?}"
                );
            }
        }
        if let Some((user, password)) = &self.user {
            if user != "default" {
                text.push_str("user default off\n");
            }
            let _ = writeln!(text, "user {user} on >{password} ~* &* +@all");
        }
        if self.cluster {
            let bus = port::free()?;
            let _ = writeln!(text, "cluster-enabled yes\ncluster-port {bus}\ncluster-announce-ip 127.0.0.1");
        }
        Ok(text + &self.options)
    }
}
