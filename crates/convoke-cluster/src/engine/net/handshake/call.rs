use std::io;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Challenge, HandshakeError, Hello, MAGIC, PROTOCOL, Refusal, Side, Signed, nonce, send, words};
use crate::NodeId;
use crate::engine::net::frame::{Frame, Frames};
use crate::engine::net::identity::Identity;
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;

/// The caller's half. The time is bounded by whoever calls.
pub(crate) async fn call<R, W>(
    from: &mut Frames<R>,
    to: &mut W,
    us: &Identity,
    whom: Option<NodeId>,
    lane: Lane,
) -> Result<(), HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let hello = Hello { cluster: us.cluster.to_string(), from: us.id(), to: whom, lane, nonce: nonce()? };
    to.write_all(MAGIC).await?;
    to.write_all(&PROTOCOL.to_le_bytes()).await?;
    let hello = send(to, Kind::Hello, &hello).await?;
    let challenge = answer(from, Kind::Challenge).await?;
    let _: Challenge = challenge.read()?;
    let signature = us.sign(&words(Side::Caller, &hello, &challenge.body));
    send(to, Kind::Proof, &Signed { signature }).await?;
    let welcome: Signed = answer(from, Kind::Welcome).await?.read()?;
    if !us.verifies(&words(Side::Listener, &hello, &challenge.body), welcome.signature.as_ref()) {
        return Err(HandshakeError::Unproven);
    }
    Ok(())
}

async fn answer<R: AsyncRead + Unpin>(from: &mut Frames<R>, kind: Kind) -> Result<Frame, HandshakeError> {
    let frame = from.next(&[kind, Kind::Refused]).await?;
    let frame = frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?;
    if frame.kind == Kind::Refused {
        return Err(HandshakeError::Refused(frame.read::<Refusal>()?));
    }
    Ok(frame)
}
