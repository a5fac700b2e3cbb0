//! The promises of [`Transport`].
//!
//! ```
//! use std::sync::Arc;
//!
//! use convoke_core::{InProcess, Transport};
//! use convoke_testing::conformance::transport::Fixture;
//!
//! struct Bus(InProcess);
//!
//! impl Fixture for Bus {
//!     async fn transport(&self) -> Arc<dyn Transport> {
//!         Arc::new(self.0.another_node())
//!     }
//! }
//!
//! async fn fixture(_test: &str) -> Option<Bus> {
//!     Some(Bus(InProcess::new()))
//! }
//!
//! mod keeps_the_promises {
//!     convoke_testing::conformance::transport!(super::fixture);
//! }
//! # fn main() {}
//! ```
//!
//! A fixture that starts a server may answer `None` after saying that the test it is told is skipped.
//! [`Responder`], [`Listener`] and [`Gate`] are of use in a backend's own tests, too.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::{
    Answered, Audience, Codec, Consume, ConsumeSpec, Envelope, Expiry, Failed, Limits, MessageKind,
    NodeIdentity, Outgoing, Payload, Serve, ServeSpec, Transport, TransportError, TransportHealth,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{EVENTUALLY_WITHIN, eventually};

#[doc(hidden)]
pub mod by_id;
#[doc(hidden)]
pub mod envelopes;
#[doc(hidden)]
pub mod events;
mod gate;
#[doc(hidden)]
pub mod jobs;
#[doc(hidden)]
pub mod lanes;
#[doc(hidden)]
pub mod leaving;
#[doc(hidden)]
pub mod letters;
mod listener;
#[doc(hidden)]
pub mod nodes;
#[doc(hidden)]
pub mod requests;
mod responder;
#[doc(hidden)]
pub mod settling;
#[doc(hidden)]
pub mod sizes;
#[doc(hidden)]
pub mod views;

pub use gate::Gate;
pub use listener::Listener;
pub use responder::Responder;

const COMMAND: &str = "conformance.do.v1";
const OTHER_COMMAND: &str = "conformance.undo.v1";
const QUERY: &str = "conformance.ask.v1";
const EVENT: &str = "conformance.done.v1";
const OTHER_EVENT: &str = "conformance.undone.v1";

/// How much later than promised something may happen on a busy machine.
const LATE: Duration = Duration::from_secs(2);

/// A broker of the test's own, or a namespace that nobody used before.
pub trait Fixture {
    /// The transport of one more node, not opened yet.
    fn transport(&self) -> impl Future<Output = Arc<dyn Transport>>;

    /// The identity of a node of this name.
    fn identity(&self, node: &str) -> NodeIdentity {
        let (namespace, service) = ("conformance".to_owned(), "orders".to_owned());
        NodeIdentity { namespace, service, node: node.to_owned() }
    }

    /// The largest message in bytes. `None`: there is no limit.
    fn message_bytes_max(&self) -> Option<usize> {
        None
    }
}

async fn node<F: Fixture>(fixture: &F, name: &str) -> Arc<dyn Transport> {
    node_as(fixture, &fixture.identity(name)).await
}

/// A node that is open and up.
async fn node_as<F: Fixture>(fixture: &F, identity: &NodeIdentity) -> Arc<dyn Transport> {
    let transport = fixture.transport().await;
    transport.open(identity).await.expect("the node opens");
    eventually("the node is up", || async {
        match transport.health() {
            TransportHealth::Up => Ok(()),
            other => Err(other),
        }
    })
    .await;
    transport
}

/// Ends a node as it should end.
async fn end(transport: &dyn Transport) {
    transport.leave(soon()).await;
    transport.close(soon()).await;
}

fn soon() -> Instant {
    Instant::now() + EVENTUALLY_WITHIN
}

fn payload(content: &str) -> Payload {
    let bytes = Codec::default().encode(content).expect("a text can be encoded");
    Payload::Bytes { codec: Codec::default(), bytes }
}

/// The text in a payload; empty when there is nothing in it.
fn text(payload: &Payload) -> String {
    let (codec, bytes) = payload.encoded(Codec::default()).expect("it is encoded");
    if bytes.is_empty() {
        return String::new();
    }
    let limits = Limits::default().payload_bytes_max(usize::MAX);
    codec.decode(&bytes, &limits).expect("a text")
}

fn command(content: &str) -> Outgoing {
    outgoing(COMMAND, MessageKind::Command, content)
}

fn query(content: &str) -> Outgoing {
    outgoing(QUERY, MessageKind::Query, content)
}

fn event(content: &str) -> Outgoing {
    outgoing(EVENT, MessageKind::Event, content)
}

fn outgoing(name: &'static str, kind: MessageKind, content: &str) -> Outgoing {
    let mut envelope = Envelope::with_id(Uuid::now_v7());
    envelope.expiry = (kind != MessageKind::Event).then(|| Expiry::after(EVENTUALLY_WITHIN));
    Outgoing { name, kind, lane: 7, payload: payload(content), envelope }
}

async fn request(caller: &dyn Transport, message: Outgoing) -> Result<Answered, TransportError> {
    caller.request(message, soon()).await
}

fn reply(payload: Payload) -> Answered {
    Answered::Replied { payload, replayed: false }
}

#[track_caller]
fn replied(answered: Result<Answered, TransportError>) -> String {
    match answered {
        Ok(Answered::Replied { payload, replayed: false }) => text(&payload),
        other => panic!("not a first reply: {other:?}"),
    }
}

#[track_caller]
fn failed(answered: Result<Answered, TransportError>) -> Failed {
    match answered {
        Ok(Answered::Failed(failed)) => failed,
        other => panic!("not a failure: {other:?}"),
    }
}

async fn serve(member: &dyn Transport, serve: Arc<dyn Serve>) {
    serve_as(member, MessageKind::Command, serve).await;
}

async fn serve_as(member: &dyn Transport, kind: MessageKind, serve: Arc<dyn Serve>) {
    let name = if kind == MessageKind::Query { QUERY } else { COMMAND };
    member.serve(ServeSpec { name, kind, queue_max: 1024 }, serve).await.expect("it joins the group");
}

fn group(name: &str) -> Audience {
    Audience::Group(name.to_owned())
}

async fn consume(node: &dyn Transport, audience: Audience, consume: Arc<dyn Consume>) {
    let spec = ConsumeSpec { audience, names: vec![EVENT], in_flight_max: 64 };
    node.consume(spec, consume).await.expect("the consumer is attached");
}

/// Publishes one after the other, each when the one before is stored.
async fn publish(node: &dyn Transport, contents: impl IntoIterator<Item: AsRef<str>>) {
    for content in contents {
        node.publish(event(content.as_ref()), soon()).await.expect("it is stored");
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_transport {
    ($fixture:path) => {
        $crate::__conformance_transport! { @each $fixture;
            requests {
                a_request_reaches_one_member_and_its_reply_comes_back
                a_node_may_ask_itself
                a_refusal_and_each_failure_come_back_as_what_they_are
                a_replayed_answer_says_so
                a_reply_may_be_empty
                members_share_the_load_and_each_request_runs_once
                a_request_that_nobody_serves_is_told_so_at_once
                a_request_without_an_answer_ends_at_its_deadline
                a_handler_is_not_cancelled_by_a_caller_who_stops_waiting
                a_request_whose_deadline_has_passed_reaches_nobody
                a_request_that_lay_in_a_buffer_is_dropped_or_known_as_stale
                a_slow_handler_does_not_hold_up_the_next_request
                a_panic_fails_its_caller_and_the_member_goes_on
                a_command_and_a_query_have_their_own_groups
            }
            by_id {
                a_request_by_id_reaches_that_node_and_no_other_with_its_name_and_envelope
                a_request_to_a_node_that_is_not_there_reached_nobody
                a_node_that_leaves_answers_what_it_was_asked_by_id
                a_failure_comes_back_from_a_node_by_its_id
            }
            envelopes {
                a_plain_request_keeps_its_id_and_expiry
                a_request_without_an_expiry_comes_without_one
                a_request_keeps_every_field_of_its_envelope
                an_event_keeps_every_field_of_its_envelope
                a_header_keeps_its_value_to_the_letter
                a_header_of_any_name_is_the_senders_own
                headers_up_to_their_limits_travel
                each_codec_travels_there_and_back
            }
            sizes {
                a_message_above_the_limit_is_refused_and_reaches_nobody
                a_message_below_the_limit_arrives
                a_message_that_only_its_headers_make_too_large_harms_nobody
                a_reply_above_the_limit_fails_its_caller_at_once
            }
            events {
                publish_returns_a_growing_sequence
                a_repeated_id_is_a_duplicate_and_is_delivered_once
                every_node_gets_every_event_once
                a_consumer_gets_the_names_it_wants_and_no_other
                events_are_handed_over_in_stream_order
                a_node_that_was_away_gets_what_it_missed_in_order
                a_new_node_starts_with_what_comes
                each_event_of_a_group_goes_to_one_member
                what_a_group_missed_while_nobody_was_there_waits_for_it
                groups_nodes_and_services_of_one_name_are_apart
            }
            views {
                a_view_replays_from_the_beginning_at_each_start
                every_node_has_its_own_view
                an_empty_view_is_caught_up
                a_view_is_caught_up_when_what_was_stored_is_handled
            }
            settling {
                no_more_events_than_the_bound_are_in_flight
                an_event_that_is_handed_back_comes_again
                an_event_that_one_member_hands_back_is_handled_by_another
                an_event_whose_handling_panics_comes_again
                what_a_node_leaves_unsettled_goes_to_its_successor
                what_a_member_leaves_unsettled_goes_to_another_member
                what_an_abandoned_node_had_in_hand_goes_to_its_successor
                a_buried_event_counts_as_settled
            }
            lanes {
                equal_keys_are_handled_in_order_over_the_members_of_a_group
                members_come_and_go_and_equal_keys_stay_in_order
                the_lanes_of_a_member_that_died_go_to_others_within_five_seconds_in_order
                a_key_that_stands_still_holds_up_no_other
                events_without_a_key_go_to_any_member
            }
            letters {
                a_letter_shows_everything_that_is_known
                letters_are_listed_in_pages_and_by_filter
                a_replay_goes_to_the_node_that_failed_and_to_nobody_else
                a_replay_goes_to_one_member_of_the_group_that_failed
                a_replayed_job_goes_to_one_node_of_its_service
                a_replay_waits_for_a_node_that_is_away
                a_replay_that_is_handed_back_comes_again
                a_dropped_letter_is_gone
                a_failure_that_is_told_twice_is_one_letter
                a_dropped_letter_that_holds_its_key_tells_its_handler
                what_is_parked_stays_in_order_and_is_bounded
            }
            leaving {
                a_leaving_member_loses_no_request_under_load
                the_last_member_leaves_and_no_caller_is_left_in_doubt
                a_node_leaves_when_what_runs_is_done
                a_node_gives_up_at_the_deadline_and_counts_what_it_lost
                a_node_that_leaves_does_not_wait_for_others
                a_node_that_left_gets_nothing_more
                after_abandon_nothing_more_is_handed_over
            }
            jobs {
                each_job_goes_to_one_node_of_the_service
                jobs_wait_for_a_node_and_are_gone_when_they_are_settled
                a_node_gets_the_jobs_it_has_a_handler_for
                a_job_stored_again_under_its_id_is_a_duplicate
                a_job_is_handed_over_when_it_is_due_and_not_before
                a_job_that_is_not_due_can_be_taken_back_once
                a_job_keeps_every_field_of_its_envelope
                a_job_that_is_handed_back_comes_again_to_whom_can
                jobs_that_a_node_leaves_unsettled_go_to_another
                jobs_of_a_node_that_is_gone_go_to_another
            }
            nodes {
                a_node_that_is_open_is_up
                a_second_live_node_of_one_id_is_refused_with_a_sentence
                an_id_is_free_again_when_its_node_left_or_was_abandoned
                a_node_of_another_service_has_the_same_bus
            }
        }
    };
    (@each $fixture:path; $($topic:ident { $($promise:ident)* })*) => { $($(
        #[::tokio::test]
        async fn $promise() {
            if let ::core::option::Option::Some(fixture) = $fixture(::core::stringify!($promise)).await {
                $crate::conformance::transport::$topic::$promise(&fixture).await;
            }
        }
    )*)* };
}
