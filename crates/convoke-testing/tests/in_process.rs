//! The in-process bus keeps the promises of a transport, with typed payloads and with encoded ones.

use std::sync::Arc;

use convoke_core::{InProcess, Transport};
use convoke_testing::conformance::transport::Fixture;

/// The largest message of a bus that encodes.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

struct Bus {
    bus: InProcess,
    message_bytes_max: Option<usize>,
}

impl Fixture for Bus {
    async fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(self.bus.another_node())
    }

    fn message_bytes_max(&self) -> Option<usize> {
        self.message_bytes_max
    }
}

async fn typed(_test: &str) -> Option<Bus> {
    Some(Bus { bus: InProcess::new(), message_bytes_max: None })
}

async fn encoding(_test: &str) -> Option<Bus> {
    let bus = InProcess::new();
    bus.bus().encode_always();
    Some(Bus { bus, message_bytes_max: Some(MESSAGE_BYTES_MAX) })
}

mod a_bus {
    convoke_testing::conformance::transport!(super::typed);
}

mod a_bus_that_encodes {
    convoke_testing::conformance::transport!(super::encoding);
}
