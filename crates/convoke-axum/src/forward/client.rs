use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use convoke_core::{
    Answered, BoxError, BoxFuture, Forwarder, LeaderInfo, Limits, Outgoing, TransportError,
    TransportErrorKind, frame,
};
use http::header::{CONTENT_TYPE, HOST};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::connect::{Connections, Sender};
use super::sign::{HEADER, Nonce};
use super::{ForwardKey, PATH};
use crate::serve::{ServeError, certificates};

/// How long a leader may take to accept a connection, before the request is tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of a problem's text is repeated.
const PROBLEM_BYTES_MAX: usize = 1024;

/// Hands what is for the leader to its HTTP server, at the address the cluster knows it by; its far side is
/// [`forward_routes`](super::forward_routes). For clusters without a message bus.
///
/// Connections are kept, requests and answers signed. A request that certainly did not reach the leader, because it
/// accepts no connection or says so, is tried again by the node for as long as its `leader_wait`.
///
/// ```
/// use convoke::App;
/// use convoke_axum::{ForwardKey, HttpForwarder};
///
/// let key = ForwardKey::new("0f1e2d3c4b5a69788796a5b4c3d2e1f0")?;
/// let app = App::new("orders").forwarder(HttpForwarder::new(key));
/// # Ok::<(), convoke_axum::GuardError>(())
/// ```
pub struct HttpForwarder {
    key: ForwardKey,
    connections: Connections,
    limits: Limits,
}

impl HttpForwarder {
    /// With the key that all nodes share.
    #[must_use]
    pub fn new(key: ForwardKey) -> Self {
        Self { key, connections: Connections::default(), limits: Limits::default() }
    }

    /// The bounds of what is read of an answer. Default: those of a node's default configuration.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Trusts leaders whose address is `https://..` when one of these authorities has signed their certificate: a file
    /// in PEM form.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn tls_ca(mut self, path: impl AsRef<Path>) -> Result<Self, ServeError> {
        let path = path.as_ref();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(path, "authorities")? {
            roots
                .add(certificate)
                .map_err(|error| ServeError::file("authorities", path, &error.to_string()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| ServeError::file("authorities", path, &error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.connections.tls = Some(Arc::new(config));
        Ok(self)
    }

    async fn ask(
        &self,
        leader: &LeaderInfo,
        message: Outgoing,
        deadline: Instant,
    ) -> Result<Answered, TransportError> {
        let address = Address::of(leader, message.name)?;
        let body = frame::request(&message)?;
        let (signature, nonce) = self
            .key
            .sign(&leader.node, message.name, &body)
            .ok_or_else(|| unavailable("this machine gives no random numbers"))?;
        let request = address.request(signature, body)?;
        let (mut sender, mut response) =
            match timeout_at(deadline, self.send(&address, request, deadline)).await {
                Err(_) => return Err(TransportErrorKind::TimedOut.into()),
                Ok(sent) => sent?,
            };
        let read = Limited::new(response.body_mut(), frame::bytes_max(&self.limits)).collect();
        let body = match timeout_at(deadline, read).await {
            Err(_) => return Err(TransportErrorKind::TimedOut.into()),
            Ok(Err(error)) => return Err(TransportError::new(TransportErrorKind::Disconnected, error)),
            Ok(Ok(body)) => body.to_bytes(),
        };
        // Ready again when the connection's task has seen the end of the answer.
        if matches!(timeout_at(deadline, sender.ready()).await, Ok(Ok(()))) {
            self.connections.keep(&address.authority, sender);
        }
        self.read(&response, &nonce, &body)
    }

    /// Sends it over a connection that was kept, or over a new one. What certainly was not sent over a kept one, because it
    /// had just ended, goes over a new one.
    async fn send(
        &self,
        address: &Address,
        mut request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<(Sender, http::Response<hyper::body::Incoming>), TransportError> {
        while let Some(mut sender) = self.connections.kept(&address.authority) {
            match sender.try_send_request(request).await {
                Ok(response) => return Ok((sender, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => {
                        return Err(TransportError::new(
                            TransportErrorKind::Disconnected,
                            error.into_error(),
                        ));
                    }
                },
            }
        }
        let connect_by = deadline.min(Instant::now() + CONNECT_TIMEOUT);
        let mut sender = match timeout_at(connect_by, self.connections.open(&address.uri)).await {
            Ok(opened) => opened.map_err(unavailable)?,
            Err(_) => return Err(unavailable("it accepts no connection")),
        };
        match sender.try_send_request(request).await {
            Ok(response) => Ok((sender, response)),
            Err(mut error) => {
                let unsent = error.take_message().is_some();
                let kind =
                    if unsent { TransportErrorKind::Unavailable } else { TransportErrorKind::Disconnected };
                Err(TransportError::new(kind, error.into_error()))
            }
        }
    }

    /// What the answer says. One that is not signed is believed only when nothing can have run.
    fn read(
        &self,
        response: &http::Response<hyper::body::Incoming>,
        nonce: &Nonce,
        body: &[u8],
    ) -> Result<Answered, TransportError> {
        let status = response.status();
        let signed = self.key.checks_answer(response.headers().get(HEADER), nonce, body);
        if status == StatusCode::OK && signed {
            return frame::read_answer(body, &self.limits);
        }
        let said = String::from_utf8_lossy(&body[..body.len().min(PROBLEM_BYTES_MAX)]).into_owned();
        let kind = match status {
            StatusCode::PAYLOAD_TOO_LARGE => TransportErrorKind::TooLarge,
            StatusCode::UNAUTHORIZED | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                TransportErrorKind::Refused
            }
            StatusCode::MISDIRECTED_REQUEST | StatusCode::SERVICE_UNAVAILABLE if signed => {
                TransportErrorKind::Unavailable
            }
            _ => TransportErrorKind::Disconnected, // from a proxy in between, which cannot know
        };
        let unsigned = if signed { "" } else { ", unsigned" };
        Err(TransportError::new(kind, format!("the leader's server answered {status}{unsigned}: {said}")))
    }
}

/// Where a leader takes a request.
struct Address {
    uri: Uri,
    authority: Authority,
    path: String,
}

impl Address {
    fn of(leader: &LeaderInfo, name: &str) -> Result<Self, TransportError> {
        let refused = |text: String| TransportError::new(TransportErrorKind::Refused, text);
        let Some(http) = &leader.http else {
            return Err(refused(format!(
                "the leader {} has no HTTP address: give its node one",
                leader.node
            )));
        };
        let uri: Uri = http.parse().map_err(|error| refused(format!("the address {http}: {error}")))?;
        let authority =
            uri.authority().cloned().ok_or_else(|| refused(format!("the address {http} has no host")))?;
        let path = format!("{}{PATH}{name}", uri.path().trim_end_matches('/'));
        Ok(Self { uri, authority, path })
    }

    fn request(&self, signature: HeaderValue, body: Bytes) -> Result<Request<Full<Bytes>>, TransportError> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, self.authority.as_str())
            .header(HEADER, signature)
            .header(CONTENT_TYPE, "application/msgpack");
        let refused = |error| TransportError::new(TransportErrorKind::Refused, error);
        request.body(Full::new(body)).map_err(refused)
    }
}

fn unavailable(error: impl Into<BoxError>) -> TransportError {
    TransportError::new(TransportErrorKind::Unavailable, error)
}

impl Forwarder for HttpForwarder {
    fn forward<'a>(
        &'a self,
        leader: &'a LeaderInfo,
        request: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        Box::pin(self.ask(leader, request, deadline))
    }
}

impl fmt::Debug for HttpForwarder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpForwarder").field("limits", &self.limits).finish_non_exhaustive()
    }
}
