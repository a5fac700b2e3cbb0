use std::io;

use bytes::{Buf, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::kind::Kind;

/// The version of the frames. Another one is another protocol.
pub(crate) const VERSION: u8 = 1;
/// The length, the version, the kind.
pub(super) const HEAD_BYTES: usize = 4 + 1 + 1;
/// How much is read at once, and how far the buffer grows ahead of what has arrived: whoever announces much and
/// sends little makes nobody hold much.
const READ_BYTES: usize = 64 * 1024;

/// One message on the wire: `length u32 LE | version u8 | kind u8 | body`. The length counts what follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) body: Bytes,
}

/// What is no frame, or none that may come here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes has no room for its head")]
    TooShort(usize),
    #[error("frames of version {0}, ours are of version {VERSION}")]
    Version(u8),
    #[error("a frame of the unknown kind {0}")]
    UnknownKind(u8),
    #[error("a frame {0:?} where none may come")]
    Unexpected(Kind),
    #[error("a frame {kind:?} of {bytes} bytes, {bytes_max} are the most")]
    TooLarge { kind: Kind, bytes: usize, bytes_max: usize },
    #[error("a frame {kind:?} that cannot be read: {why}")]
    Body { kind: Kind, why: String },
}

impl From<FrameError> for io::Error {
    fn from(error: FrameError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

impl Frame {
    /// The body as a message. All of it: what is left over is a mistake too.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        let wrong = |why: String| FrameError::Body { kind: self.kind, why };
        let (message, rest) =
            postcard::take_from_bytes(&self.body).map_err(|error| wrong(error.to_string()))?;
        if rest.is_empty() { Ok(message) } else { Err(wrong(format!("{} bytes are left over", rest.len()))) }
    }

    /// The ticket that stands before the message, and the message.
    pub(crate) fn ticket(self) -> Result<(u64, Self), FrameError> {
        let Self { kind, body } = self;
        let ticket = postcard::take_from_bytes::<u64>(&body).map(|(ticket, rest)| (ticket, rest.len()));
        let (ticket, rest) = ticket.map_err(|error| FrameError::Body { kind, why: error.to_string() })?;
        Ok((ticket, Self { kind, body: body.slice(body.len() - rest..) }))
    }
}

/// The bytes of one frame.
pub(crate) fn encode<T: Serialize + ?Sized>(kind: Kind, message: &T) -> Result<Bytes, FrameError> {
    let mut bytes = Vec::with_capacity(256);
    bytes.extend_from_slice(&[0, 0, 0, 0, VERSION, kind as u8]);
    let mut bytes = postcard::to_extend(message, bytes)
        .map_err(|error| FrameError::Body { kind, why: error.to_string() })?;
    let body = bytes.len() - HEAD_BYTES;
    if body > kind.body_bytes_max() {
        return Err(FrameError::TooLarge { kind, bytes: body, bytes_max: kind.body_bytes_max() });
    }
    let length = u32::try_from(bytes.len() - 4).expect("every limit of a body fits into 32 bits");
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes.into())
}

/// Takes the next frame from what has arrived, if it is whole. `accepts` is decided by the head, before its body is
/// waited for.
pub(crate) fn decode(arrived: &mut BytesMut, accepts: &[Kind]) -> Result<Option<Frame>, FrameError> {
    let Some(length) = announced(arrived) else { return Ok(None) };
    if length < HEAD_BYTES - 4 {
        return Err(FrameError::TooShort(length));
    }
    if let Some(&version) = arrived.get(4)
        && version != VERSION
    {
        return Err(FrameError::Version(version));
    }
    let Some(&byte) = arrived.get(5) else { return Ok(None) };
    let kind = Kind::of(byte).ok_or(FrameError::UnknownKind(byte))?;
    if !accepts.contains(&kind) {
        return Err(FrameError::Unexpected(kind));
    }
    let bytes = length - (HEAD_BYTES - 4);
    let bytes_max = kind.body_bytes_max();
    if bytes > bytes_max {
        return Err(FrameError::TooLarge { kind, bytes, bytes_max });
    }
    if arrived.len() < HEAD_BYTES + bytes {
        return Ok(None);
    }
    arrived.advance(HEAD_BYTES);
    Ok(Some(Frame { kind, body: arrived.split_to(bytes).freeze() }))
}

fn announced(arrived: &BytesMut) -> Option<usize> {
    let head: [u8; 4] = arrived.get(..4)?.try_into().expect("four bytes were asked for");
    usize::try_from(u32::from_le_bytes(head)).ok()
}

/// Reads frames. Dropping a read loses nothing that arrived.
#[derive(Debug)]
pub(crate) struct Frames<R> {
    from: R,
    arrived: BytesMut,
}

impl<R: AsyncRead + Unpin> Frames<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, arrived: BytesMut::new() }
    }

    /// The next frame, or `None` when the peer has said everything.
    pub(crate) async fn next(&mut self, accepts: &[Kind]) -> io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = decode(&mut self.arrived, accepts)? {
                return Ok(Some(frame));
            }
            self.arrived.reserve(READ_BYTES);
            if self.from.read_buf(&mut self.arrived).await? == 0 {
                return if self.arrived.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Exactly so many bytes, before the first frame.
    pub(crate) async fn exactly(&mut self, bytes: usize) -> io::Result<Bytes> {
        while self.arrived.len() < bytes {
            if self.from.read_buf(&mut self.arrived).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.arrived.split_to(bytes).freeze())
    }
}
