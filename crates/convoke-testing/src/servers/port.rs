//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};

use super::error::Error;

/// Below the ephemeral range (32768 and up on Linux): a port up there can be taken by any outgoing connection while
/// its server is down, and then the server could not be restarted on it.
const LOWEST: u16 = 10_000;
const HIGHEST: u16 = 32_000;
const TRIES_MAX: u32 = 100;

/// A loopback port nobody listens on at this moment, which no outgoing connection takes either. Another process may
/// be faster, so whoever starts a server tries again.
///
/// # Errors
///
/// When none is found.
pub fn free() -> Result<u16, Error> {
    (0..TRIES_MAX)
        .map(|_| random())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| {
            Error::failed(format!("no free port in {TRIES_MAX} tries between {LOWEST} and {HIGHEST}"))
        })
}

fn random() -> u16 {
    let span = u128::from(HIGHEST - LOWEST);
    let offset = uuid::Uuid::now_v7().as_u128() % span;
    LOWEST + u16::try_from(offset).expect("the offset is below the span, which is a u16")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_free_and_outside_the_ephemeral_range() {
        let port = free().expect("some port is free");
        assert!((LOWEST..HIGHEST).contains(&port));
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("nobody listens there");
    }
}
