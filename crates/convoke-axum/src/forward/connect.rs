//! Connections to leaders, kept for the next request.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use http::Uri;
use http::uri::Authority;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::ServerName;

/// Connections to one leader that wait for a request.
const IDLE_MAX: usize = 32;
/// How long they do: less than any server keeps one.
const IDLE_FOR: Duration = Duration::from_secs(4);
/// Leaders that connections are kept to.
const LEADERS_MAX: usize = 8;

pub(super) type Sender = SendRequest<Full<Bytes>>;

/// Opens connections and keeps some.
#[derive(Default)]
pub(super) struct Connections {
    pub(super) tls: Option<Arc<ClientConfig>>,
    idle: Mutex<HashMap<Authority, Vec<Idle>>>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

impl Connections {
    /// One that was used before, if it still is one.
    pub(super) fn kept(&self, authority: &Authority) -> Option<Sender> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(authority)?;
        while let Some(Idle { sender, since }) = kept.pop() {
            if since.elapsed() < IDLE_FOR && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Keeps one for the next request.
    pub(super) fn keep(&self, authority: &Authority, sender: Sender) {
        if !sender.is_ready() {
            return; // the other side ends it
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !idle.contains_key(authority) && idle.len() >= LEADERS_MAX {
            idle.clear(); // leaders change seldom
        }
        let kept = idle.entry(authority.clone()).or_default();
        kept.retain(|idle| idle.since.elapsed() < IDLE_FOR);
        if kept.len() < IDLE_MAX {
            kept.push(Idle { sender, since: Instant::now() });
        }
    }

    /// A new one. Whoever waits for it keeps the time.
    pub(super) async fn open(&self, uri: &Uri) -> io::Result<Sender> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidInput, text.to_owned());
        let host = uri.host().ok_or_else(|| invalid("the address has no host"))?;
        let https = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if https { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await?;
        stream.set_nodelay(true)?;
        if !https {
            return spoken(stream).await;
        }
        let tls = self
            .tls
            .clone()
            .ok_or_else(|| invalid("it is HTTPS: give the forwarder its authority with `tls_ca`"))?;
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| invalid("the host cannot have a certificate"))?;
        spoken(TlsConnector::from(tls).connect(name, stream).await?).await
    }
}

async fn spoken(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> io::Result<Sender> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    tokio::spawn(async move {
        let _ = connection.await; // it ends with its sender, and what fails is told there
    });
    Ok(sender)
}
