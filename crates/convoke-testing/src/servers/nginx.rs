use std::net::Ipv4Addr;
use std::path::PathBuf;

use tokio::net::TcpStream;

use super::error::Error;
use super::instance::{Instance, Start, new_directory, on_a_free_port, write};
use super::{binary, skip};

/// Where it keeps bodies that are too long for memory: below its own directory, and not where root may write.
const OWN_DIRECTORIES: &str = "http {
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;";

/// An `nginx` of this test's own.
#[derive(Debug)]
pub struct Nginx {
    instance: Instance,
    port: u16,
}

impl Nginx {
    /// Starts one with a whole configuration, in which `{port}` stands for the loopback port it is to listen on.
    ///
    /// # Errors
    ///
    /// [`Missing`](super::ErrorKind::Missing) when there is no program that is new enough, and
    /// [`Failed`](super::ErrorKind::Failed) when it does not come up.
    pub async fn start(config: &str) -> Result<Self, Error> {
        let program = binary::locate(&binary::NGINX)?;
        on_a_free_port(|port| Self::start_on(port, config, program.clone())).await
    }

    /// Like [`start`](Self::start), and `None` after a printed line when the program is missing.
    ///
    /// # Panics
    ///
    /// Panics when the program is missing although servers are required, and when it does not come up.
    pub async fn start_or_skip(test: &str, config: &str) -> Option<Self> {
        skip::started_or_skipped(test, Self::start(config).await)
    }

    async fn start_on(port: u16, config: &str, program: PathBuf) -> Result<Self, Start> {
        let directory = new_directory()?;
        let file = directory.path().join("nginx.conf");
        let config = config.replace("{port}", &port.to_string()).replacen("http {", OWN_DIRECTORIES, 1);
        write(&file, &config)?;
        // One process in the foreground, so that it is our child and no other stays behind.
        let own = "daemon off; master_process off; pid nginx.pid; error_log stderr;";
        let (prefix, file) = (directory.path().display().to_string(), file.display().to_string());
        let arguments = ["-p", &prefix, "-c", &file, "-e", "stderr", "-g", own].map(str::to_owned).to_vec();
        let proxy = Self { instance: Instance::launch(program, arguments, directory)?, port };
        let accepts = async || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok();
        proxy.instance.until_ready(accepts).await?;
        Ok(proxy)
    }

    /// Where clients connect: `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it wrote last, to be printed after a failure.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.instance.log_tail()
    }
}
