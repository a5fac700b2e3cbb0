use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Hands connections over that ask for another protocol than HTTP: a `GET` with `Upgrade: <protocol>` is answered
/// with `101`, and from then on the connection is `serve`'s, until that returns. Others are answered `426`.
///
/// The server counts such a connection until it ends, and a shutdown waits for it as long as for a request: end it
/// first. Who may have one is for `serve` to find out.
///
/// ```
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let echo = convoke_axum::upgrade("echo", |mut stream| async move {
///     while let Ok(byte) = stream.read_u8().await {
///         let _ = stream.write_u8(byte).await;
///     }
/// });
/// let routes: axum::Router = axum::Router::new().route("/echo", echo);
/// ```
pub fn upgrade<S, F, Fut>(protocol: &'static str, serve: F) -> MethodRouter<S>
where
    S: Clone + Send + Sync + 'static,
    F: Fn(Upgraded) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let serve = Arc::new(serve);
    get(move |mut request: Request| {
        let serve = Arc::clone(&serve);
        async move {
            let upgrade = request.extensions_mut().remove::<OnUpgrade>();
            match upgrade.filter(|_| asks_for(request.headers(), protocol)) {
                Some(upgrade) => {
                    tokio::spawn(async move {
                        match upgrade.await {
                            Ok(stream) => serve(Upgraded { stream: TokioIo::new(stream) }).await,
                            Err(error) => tracing::debug!(%error, protocol, "an upgrade came to nothing"),
                        }
                    });
                    answer(StatusCode::SWITCHING_PROTOCOLS, protocol)
                }
                None => answer(StatusCode::UPGRADE_REQUIRED, protocol),
            }
        }
    })
}

fn asks_for(headers: &HeaderMap, protocol: &str) -> bool {
    let said = headers.get_all(UPGRADE).iter().filter_map(|value| value.to_str().ok());
    said.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case(protocol))
}

fn answer(status: StatusCode, protocol: &'static str) -> Response {
    let headers =
        [(CONNECTION, HeaderValue::from_static("upgrade")), (UPGRADE, HeaderValue::from_static(protocol))];
    (status, headers).into_response()
}

/// A connection that speaks HTTP no more.
#[derive(Debug)]
pub struct Upgraded {
    stream: TokioIo<hyper::upgrade::Upgraded>,
}

impl AsyncRead for Upgraded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        to: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, to)
    }
}

impl AsyncWrite for Upgraded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
