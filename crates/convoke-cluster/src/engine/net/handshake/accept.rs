use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Challenge, HandshakeError, Hello, MAGIC, PREAMBLE_BYTES, PROTOCOL, Refusal, Side, Signed, nonce, send,
    words,
};
use crate::engine::net::frame::{Frame, Frames};
use crate::engine::net::identity::Identity;
use crate::engine::net::kind::Kind;
use crate::engine::net::lane::Lane;

/// The listener's half: who calls, about what. The time is bounded by whoever calls. `full` refuses everybody who is
/// a member, and says so.
pub(crate) async fn accept<R, W>(
    from: &mut Frames<R>,
    to: &mut W,
    us: &Identity,
    full: bool,
) -> Result<Hello, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    preamble(from, to).await?;
    let said = next(from, Kind::Hello).await?;
    let hello: Hello = said.read()?;
    check(&hello, us).or_refuse(to).await?;
    let challenge = send(to, Kind::Challenge, &Challenge { nonce: nonce()? }).await?;
    let proof: Signed = next(from, Kind::Proof).await?.read()?;
    let proven = us.verifies(&words(Side::Caller, &said.body, &challenge), proof.signature.as_ref());
    if proven { Ok(()) } else { Err(Refusal::Secret) }.or_refuse(to).await?;
    if full { Err(Refusal::Full) } else { Ok(()) }.or_refuse(to).await?;
    let signature = us.sign(&words(Side::Listener, &said.body, &challenge));
    send(to, Kind::Welcome, &Signed { signature }).await?;
    Ok(hello)
}

async fn preamble<R, W>(from: &mut Frames<R>, to: &mut W) -> Result<(), HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let first = from.exactly(PREAMBLE_BYTES).await?;
    let (magic, version) = first.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(HandshakeError::Stranger(magic.escape_ascii().to_string()));
    }
    let version = u16::from_le_bytes([version[0], version[1]]);
    if version != PROTOCOL {
        send(to, Kind::Refused, &Refusal::Protocol { ours: PROTOCOL }).await?;
        return Err(HandshakeError::Protocol(version));
    }
    Ok(())
}

fn check(hello: &Hello, us: &Identity) -> Result<(), Refusal> {
    if hello.cluster != *us.cluster {
        return Err(Refusal::Cluster);
    }
    if hello.lane != Lane::Calls && (hello.from.is_none() || hello.to.is_none()) {
        return Err(Refusal::Nameless);
    }
    if hello.to.is_some() && hello.to != us.id() {
        return Err(Refusal::Target { ours: us.id() });
    }
    if hello.from.is_some() && hello.from == us.id() {
        return Err(Refusal::Itself);
    }
    Ok(())
}

async fn next<R: AsyncRead + Unpin>(from: &mut Frames<R>, kind: Kind) -> Result<Frame, HandshakeError> {
    let frame = from.next(&[kind]).await?;
    Ok(frame.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?)
}

trait OrRefuse {
    /// Says to the caller why it is refused, if it is.
    async fn or_refuse<W: AsyncWrite + Unpin>(self, to: &mut W) -> Result<(), HandshakeError>;
}

impl OrRefuse for Result<(), Refusal> {
    async fn or_refuse<W: AsyncWrite + Unpin>(self, to: &mut W) -> Result<(), HandshakeError> {
        let Err(refusal) = self else { return Ok(()) };
        send(to, Kind::Refused, &refusal).await?;
        Err(HandshakeError::Refused(refusal))
    }
}
