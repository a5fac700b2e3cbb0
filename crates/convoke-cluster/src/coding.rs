//! How the replicated state is written: postcard behind a version byte, and every length bounded before it is believed.

use std::io::{self, Read, Write};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

/// The first byte of each command and answer.
const VERSION: u8 = 1;

/// A command or an answer, behind the version byte.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    postcard::to_extend(value, vec![VERSION])
        .map(Bytes::from)
        .expect("our own types have nothing postcard refuses")
}

/// `None` for what is of another version, is no `T`, or has something behind it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (&VERSION, rest) = bytes.split_first()? else { return None };
    whole(rest)
}

fn whole<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}

/// One record of an image: its length, then itself.
pub(crate) fn write_record<T: Serialize>(to: &mut dyn Write, record: &T) -> io::Result<()> {
    let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
    let len = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&len.to_le_bytes())?;
    to.write_all(&bytes)
}

/// The next record of an image. Memory grows with what is there, not with what is declared.
pub(crate) fn read_record<T: DeserializeOwned>(from: &mut dyn Read, bytes_max: usize) -> io::Result<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len as usize > bytes_max {
        return Err(damaged(format!("a record of {len} bytes, and {bytes_max} are the most there can be")));
    }
    let mut bytes = Vec::new();
    if from.take(u64::from(len)).read_to_end(&mut bytes)? < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    whole(&bytes).ok_or_else(|| damaged("a record that cannot be read"))
}

/// How many records follow.
pub(crate) fn write_count(to: &mut dyn Write, count: usize) -> io::Result<()> {
    to.write_all(&(count as u64).to_le_bytes())
}

/// How many records follow, at most `max`.
pub(crate) fn read_count(from: &mut dyn Read, max: u64) -> io::Result<u64> {
    let mut count = [0; 8];
    from.read_exact(&mut count)?;
    let count = u64::from_le_bytes(count);
    if count > max {
        return Err(damaged(format!("{count} records, and {max} are the most there can be")));
    }
    Ok(count)
}

/// The version byte of a part of an image.
pub(crate) fn write_version(to: &mut dyn Write, version: u8) -> io::Result<()> {
    to.write_all(&[version])
}

/// Refuses an image of another version.
pub(crate) fn read_version(from: &mut dyn Read, what: &str, version: u8) -> io::Result<()> {
    let mut found = [0];
    from.read_exact(&mut found)?;
    if found[0] != version {
        return Err(damaged(format!(
            "{what} of version {}, and this program reads version {version}",
            found[0]
        )));
    }
    Ok(())
}

/// An image that is not one.
pub(crate) fn damaged(message: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_another_version_or_something_behind_it_is_not_read() {
        let bytes = encode(&(7u64, "seven".to_owned()));
        assert_eq!(decode(&bytes), Some((7u64, "seven".to_owned())));
        let mut other = bytes.to_vec();
        other[0] = 2;
        assert_eq!(decode::<(u64, String)>(&other), None);
        let mut longer = bytes.to_vec();
        longer.push(0);
        assert_eq!(decode::<(u64, String)>(&longer), None);
        assert_eq!(decode::<(u64, String)>(&[]), None);
    }

    #[test]
    fn a_record_is_bounded_before_it_is_read() {
        let mut image = Vec::new();
        write_record(&mut image, &vec![1u8; 100]).unwrap();
        assert_eq!(read_record::<Vec<u8>>(&mut &image[..], 200).unwrap(), vec![1u8; 100]);
        let err = read_record::<Vec<u8>>(&mut &image[..], 50).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::InvalidData);
        let err = read_record::<Vec<u8>>(&mut &image[..80], 200).unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::UnexpectedEof);
    }
}
