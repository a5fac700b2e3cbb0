//! The shape of a MessagePack payload, read without recursion and without trusting a declared length.

use super::{CodecError, Limits};

/// The beginning of one value.
pub(super) struct Head {
    /// Where the next value begins: behind this one, or its first child.
    pub(super) next: usize,
    pub(super) children: Children,
}

/// How many values a value holds.
pub(super) enum Children {
    None,
    Array(usize),
    /// Entries, of a key and a value each.
    Map(usize),
}

/// Why there is no value at a place.
pub(super) enum Fault {
    /// It would end, or its children could only end, behind the payload.
    Truncated,
    /// Its marker means nothing.
    Reserved,
}

/// Refuses what is not exactly one value within the limits. Its length was checked before.
pub(super) fn check(payload: &[u8], limits: &Limits) -> Result<(), CodecError> {
    let depth_max = limits.effective_depth_max();
    // Children still to come, of the innermost container in `left` and of those around it in `outer`.
    let mut outer = [0_usize; Limits::DEPTH_CEILING];
    let (mut depth, mut left, mut at, mut items) = (0, 1_usize, 0, 1_usize);
    if items > limits.items_max {
        return Err(CodecError::too_many_items(at, limits.items_max));
    }
    loop {
        while left == 0 {
            if depth == 0 {
                return if at == payload.len() {
                    Ok(())
                } else {
                    Err(CodecError::trailing(at, payload.len()))
                };
            }
            depth -= 1;
            left = outer[depth];
        }
        left -= 1;
        let head = head(payload, at).map_err(|fault| fault.at(at, payload))?;
        let children = match head.children {
            Children::None => {
                at = head.next;
                continue;
            }
            Children::Array(len) => len,
            Children::Map(entries) => entries.saturating_mul(2),
        };
        // Counted where they are declared, so that a refusal does not wait until they were read.
        items = items.saturating_add(children);
        if items > limits.items_max {
            return Err(CodecError::too_many_items(at, limits.items_max));
        }
        if depth == depth_max {
            return Err(CodecError::too_deep(at, depth_max));
        }
        outer[depth] = left;
        depth += 1;
        left = children;
        at = head.next;
    }
}

/// Reads the value that begins at `at`, which may be the payload's end.
#[inline]
pub(super) fn head(payload: &[u8], at: usize) -> Result<Head, Fault> {
    let Some((&marker, rest)) = payload.get(at..).and_then(<[u8]>::split_first) else {
        return Err(Fault::Truncated);
    };
    let body = Body { rest, next: at + 1 };
    match marker {
        0x00..=0x7f | 0xe0..=0xff | 0xc0 | 0xc2 | 0xc3 => body.leaf(0),
        0x80..=0x8f => body.map(usize::from(marker & 0x0f)),
        0x90..=0x9f => body.array(usize::from(marker & 0x0f)),
        0xa0..=0xbf => body.leaf(usize::from(marker & 0x1f)),
        0xc1 => Err(Fault::Reserved),
        // bin 8, 16, 32 and str 8, 16, 32
        0xc4 | 0xd9 => body.sized::<1>(0),
        0xc5 | 0xda => body.sized::<2>(0),
        0xc6 | 0xdb => body.sized::<4>(0),
        // ext 8, 16, 32: the length does not count the byte of the ext's type
        0xc7 => body.sized::<1>(1),
        0xc8 => body.sized::<2>(1),
        0xc9 => body.sized::<4>(1),
        // float, uint and int, of 8 to 64 bits
        0xcc | 0xd0 => body.leaf(1),
        0xcd | 0xd1 => body.leaf(2),
        0xca | 0xce | 0xd2 => body.leaf(4),
        0xcb | 0xcf | 0xd3 => body.leaf(8),
        // fixext 1, 2, 4, 8, 16, and the byte of its type
        0xd4..=0xd8 => body.leaf(1 + (1 << (marker - 0xd4))),
        0xdc => body.length::<2>().and_then(|(body, len)| body.array(len)),
        0xdd => body.length::<4>().and_then(|(body, len)| body.array(len)),
        0xde => body.length::<2>().and_then(|(body, len)| body.map(len)),
        0xdf => body.length::<4>().and_then(|(body, len)| body.map(len)),
    }
}

/// What follows a marker.
struct Body<'a> {
    rest: &'a [u8],
    next: usize,
}

impl Body<'_> {
    #[inline]
    fn leaf(self, len: usize) -> Result<Head, Fault> {
        if len > self.rest.len() {
            return Err(Fault::Truncated);
        }
        Ok(Head { next: self.next + len, children: Children::None })
    }

    #[inline]
    fn sized<const N: usize>(self, extra: usize) -> Result<Head, Fault> {
        let (body, len) = self.length::<N>()?;
        body.leaf(len.saturating_add(extra))
    }

    // An element is at least one byte and an entry at least two, so what the rest cannot hold is a lie.
    #[inline]
    fn array(self, len: usize) -> Result<Head, Fault> {
        if len > self.rest.len() {
            return Err(Fault::Truncated);
        }
        Ok(Head { next: self.next, children: Children::Array(len) })
    }

    #[inline]
    fn map(self, entries: usize) -> Result<Head, Fault> {
        if entries > self.rest.len() / 2 {
            return Err(Fault::Truncated);
        }
        Ok(Head { next: self.next, children: Children::Map(entries) })
    }

    /// A big-endian length of `N` bytes, and what follows it.
    #[inline]
    fn length<const N: usize>(self) -> Result<(Self, usize), Fault> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(Fault::Truncated)?;
        let len = bytes.iter().fold(0_usize, |len, &byte| len << 8 | usize::from(byte));
        Ok((Self { rest, next: self.next + N }, len))
    }
}

impl Fault {
    #[cold]
    fn at(self, at: usize, payload: &[u8]) -> CodecError {
        match self {
            Self::Truncated => CodecError::truncated(at, payload.len()),
            Self::Reserved => CodecError::reserved_marker(at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limits, check as check_shape};
    use crate::codec::CodecErrorKind::{self, Malformed, TooDeep, TooManyItems, Trailing, Truncated};

    fn limits() -> Limits {
        Limits::default().depth_max(3).items_max(10)
    }

    #[track_caller]
    fn check(payload: &[u8], expected: Result<(), CodecErrorKind>) {
        assert_eq!(check_shape(payload, &limits()).map_err(|error| error.kind()), expected, "{payload:x?}");
    }

    #[test]
    fn every_marker_ends_where_the_format_says() {
        for marker in 0x00..=0xff_u8 {
            let (head, body) = match marker {
                0x80..=0x8f => (vec![marker], 2 * usize::from(marker & 0x0f)),
                0x90..=0x9f => (vec![marker], usize::from(marker & 0x0f)),
                0xa0..=0xbf => (vec![marker], usize::from(marker & 0x1f)),
                0xc1 => continue,
                0xc4 | 0xd9 => (vec![marker, 3], 3),
                0xc5 | 0xda => (vec![marker, 0, 3], 3),
                0xc6 | 0xdb => (vec![marker, 0, 0, 0, 3], 3),
                0xc7 => (vec![marker, 3], 4),
                0xc8 => (vec![marker, 0, 3], 4),
                0xc9 => (vec![marker, 0, 0, 0, 3], 4),
                0xcc | 0xd0 => (vec![marker], 1),
                0xcd | 0xd1 => (vec![marker], 2),
                0xca | 0xce | 0xd2 => (vec![marker], 4),
                0xcb | 0xcf | 0xd3 => (vec![marker], 8),
                0xd4 => (vec![marker], 2),
                0xd5 => (vec![marker], 3),
                0xd6 => (vec![marker], 5),
                0xd7 => (vec![marker], 9),
                0xd8 => (vec![marker], 17),
                0xdc => (vec![marker, 0, 3], 3),
                0xdd => (vec![marker, 0, 0, 0, 3], 3),
                0xde => (vec![marker, 0, 3], 6),
                0xdf => (vec![marker, 0, 0, 0, 3], 6),
                _ => (vec![marker], 0),
            };
            let whole = [head, vec![0xc0; body]].concat();
            let wide = Limits::default();
            let kind = |payload: &[u8]| check_shape(payload, &wide).map_err(|error| error.kind());
            assert_eq!(kind(&whole), Ok(()), "{marker:#x}");
            assert_eq!(kind(&whole[..whole.len() - 1]), Err(Truncated), "{marker:#x}");
            assert_eq!(kind(&[whole, vec![0xc0]].concat()), Err(Trailing), "{marker:#x}");
        }
    }

    #[test]
    fn nothing_at_all_is_truncated() {
        check(&[], Err(Truncated));
    }

    #[test]
    fn the_reserved_marker_is_malformed_wherever_it_stands() {
        check(&[0xc1], Err(Malformed));
        check(&[0x92, 0x01, 0xc1], Err(Malformed));
    }

    #[test]
    fn declared_lengths_of_four_gibi_are_truncated() {
        for marker in [0xc6, 0xc9, 0xdb, 0xdd, 0xdf] {
            check(&[marker, 0xff, 0xff, 0xff, 0xff, 0xc0], Err(Truncated));
        }
    }

    #[test]
    fn the_depth_limit_counts_containers_and_is_inclusive() {
        check(&[0x91, 0x81, 0x01, 0x91, 0x01], Ok(()));
        check(&[0x91, 0x91, 0x90], Ok(()));
        check(&[0x91, 0x91, 0x91, 0x90], Err(TooDeep));
        check(&[0x93, 0x90, 0x91, 0x90, 0x91, 0x91, 0x80], Err(TooDeep));
    }

    #[test]
    fn the_item_limit_counts_every_value_and_key_and_is_inclusive() {
        check(&[&[0x99][..], &[1; 9]].concat(), Ok(()));
        check(&[&[0x9a][..], &[1; 10]].concat(), Err(TooManyItems));
        check(&[&[0x92, 0x83][..], &[1; 7]].concat(), Ok(()));
        check(&[&[0x93, 0x83][..], &[1; 6], &[0x91, 1, 1]].concat(), Err(TooManyItems));
        assert!(check_shape(&[0xc0], &limits().items_max(0)).is_err());
    }

    #[test]
    fn no_setting_lifts_the_ceiling_of_the_depth() {
        let boundless = Limits::default().depth_max(usize::MAX);
        let nested = |depth: usize| [vec![0x91; depth - 1], vec![0x90]].concat();
        assert!(check_shape(&nested(Limits::DEPTH_CEILING), &boundless).is_ok());
        let error =
            check_shape(&nested(Limits::DEPTH_CEILING + 1), &boundless).expect_err("one level too deep");
        assert_eq!(error.to_string(), "payload nests deeper than the limit of 127 levels at byte 127");
    }
}
