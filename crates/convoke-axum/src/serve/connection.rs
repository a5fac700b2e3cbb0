use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, StatusCode};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::answer::Answerer;
use super::config::ServeConfig;
use super::drain::{Stage, Tally};
use super::pulse::{Phase, Pulse};
use super::wire::Wire;

/// hyper refuses to work with a smaller buffer.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

/// Everything the connections of one server share.
pub(super) struct Connections {
    http: http1::Builder,
    tls: Option<TlsAcceptor>,
    answerer: Answerer,
    header_timeout: Duration,
    keep_alive_idle: Duration,
    write_timeout: Duration,
    tally: Arc<Tally>,
    /// Connections end with their next answer.
    leaving: AtomicBool,
}

/// One accepted connection, on its way to be served.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) permit: OwnedSemaphorePermit,
    pub(super) stage: watch::Receiver<Stage>,
}

impl Connections {
    pub(super) fn new(
        config: &ServeConfig,
        tls: Option<TlsAcceptor>,
        answerer: Answerer,
        tally: Arc<Tally>,
    ) -> Self {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            // The net under the pulse's own deadlines: it also covers a head that came in one piece with the
            // request before it, whose first byte the wire cannot tell apart.
            .header_read_timeout(config.keep_alive_idle + config.header_timeout)
            .max_header_size(config.header_bytes_max)
            .max_buf_size(config.header_bytes_max.max(BUFFER_BYTES_MIN))
            .max_headers(config.headers_max);
        Self {
            http,
            tls,
            answerer,
            header_timeout: config.header_timeout,
            keep_alive_idle: config.keep_alive_idle,
            write_timeout: config.write_timeout,
            tally,
            leaving: AtomicBool::new(false),
        }
    }

    /// From now on each answer closes its connection: whoever has more to ask makes a new one, elsewhere if a load
    /// balancer has noticed. Idle ones stay, because a request may be on its way on them.
    pub(super) fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// Serves one connection until it ends, is overdue, or the server stops.
    pub(super) async fn serve(&self, accepted: Accepted) {
        let Accepted { stream, peer, permit, mut stage } = accepted;
        // Fails only on a socket that is gone already, as the next read will tell.
        let _ = stream.set_nodelay(true);
        let Some(tls) = &self.tls else { return self.serve_http(stream, peer, permit, stage).await };
        let handshake = timeout(self.header_timeout, tls.accept(stream));
        let stream = tokio::select! {
            handshake = handshake => match handshake {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_elapsed) => return tracing::debug!(%peer, "a TLS handshake took too long"),
            },
            // No request has been made yet.
            _ = Stage::after(&mut stage, Stage::Running) => return,
        };
        self.serve_http(stream, peer, permit, stage).await;
    }

    async fn serve_http<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        permit: OwnedSemaphorePermit,
        mut stage: watch::Receiver<Stage>,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let pulse = Pulse::new(self.header_timeout, self.keep_alive_idle);
        let wire = Wire::new(stream, Arc::clone(&pulse), self.write_timeout, permit);
        let service = service_fn(|request| {
            let answer = self.answerer.clone().answer(request, peer, pulse.request());
            async {
                let mut answer = answer.await;
                if self.leaving.load(Ordering::Relaxed) && answer.status() != StatusCode::SWITCHING_PROTOCOLS
                {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer)
            }
        });
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(wire), service).with_upgrades());
        let mut overdue = pin!(sleep(self.header_timeout));
        let mut seen = Stage::Running;
        let mut completed_before_drain = None;
        let mut idle_ended = false;
        loop {
            tokio::select! {
                // The connection goes first: a request that has arrived counts as in flight.
                biased;
                result = connection.as_mut() => {
                    if let Err(error) = &result {
                        tracing::debug!(%peer, %error, "a connection ended early");
                    }
                    break;
                }
                now = Stage::after(&mut stage, seen) => {
                    seen = now;
                    if seen == Stage::Stopped {
                        break;
                    }
                    completed_before_drain = Some(pulse.completed());
                    connection.as_mut().graceful_shutdown();
                }
                phase = until_overdue(&pulse, overdue.as_mut()), if !idle_ended => match phase {
                    Phase::Idle => {
                        idle_ended = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Phase::New | Phase::Head | Phase::Busy => {
                        tracing::debug!(%peer, "a request's head took too long");
                        break;
                    }
                },
            }
        }
        // A server dropped without a drain has nobody to tell.
        if let Some(before) = completed_before_drain {
            self.tally.connection_ended(pulse.completed() - before, pulse.phase() == Phase::Busy);
        }
    }
}

/// Waits until the connection has been in its phase for too long, and says in which.
async fn until_overdue(pulse: &Pulse, mut alarm: Pin<&mut Sleep>) -> Phase {
    poll_fn(|cx| {
        loop {
            let Some(deadline) = pulse.deadline() else { return Poll::Pending };
            // An alarm that rings too early is set again; most phases end before, and need no change at all.
            if alarm.deadline() > deadline {
                alarm.as_mut().reset(deadline);
            }
            ready!(alarm.as_mut().poll(cx));
            if alarm.deadline() >= deadline {
                return Poll::Ready(pulse.phase());
            }
            alarm.as_mut().reset(deadline);
        }
    })
    .await
}
