//! The lanes of a group, divided over its nodes.
//!
//! Equal keys share a lane, and at any time one node reads a lane. The 64 lanes are 16 spans of four; each span has a
//! consumer of its own, and one record says whose each span is. Whoever reads a span reads all of it from the first
//! event that was not acknowledged: a new reader makes a new consumer there, under the next epoch, and removes the one
//! before. So nobody ever sees a key's later event without its earlier ones, not even a node that was stopped and
//! goes on: the claims of the group's handlers make each event run once, and in order.

mod assignment;
mod members;
mod plan;
mod steward;

pub(crate) use assignment::SPANS;
pub(crate) use members::Members;
pub(crate) use steward::Steward;

use convoke_core::LANES;

/// Lanes of one span.
const SPAN_LANES: u8 = LANES / SPANS_U8;
const SPANS_U8: u8 = 16;

/// The lanes of a span.
pub(crate) fn lanes_of(span: usize) -> std::ops::Range<u8> {
    let first = u8::try_from(span).unwrap_or(0).min(SPANS_U8 - 1) * SPAN_LANES;
    first..first + SPAN_LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spans_have_each_lane_once() {
        let lanes: Vec<_> = (0..SPANS).flat_map(lanes_of).collect();
        assert_eq!(lanes, (0..LANES).collect::<Vec<_>>());
    }
}
