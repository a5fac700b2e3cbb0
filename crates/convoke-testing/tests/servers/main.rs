//! The fixtures against the real programs: what they promise to other tests is tested here.
#![cfg(unix)]

mod eventually;
mod lifetime;
mod nats;
mod proxy;
mod redis;
