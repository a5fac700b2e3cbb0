mod frames;
mod handshakes;
mod kit;
mod talk;
