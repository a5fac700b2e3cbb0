//! How the consumers are declared.

use std::time::Duration;

use convoke_core::Audience;
use serde_json::{Value, json};

use crate::Config;

/// How often a message is delivered at most.
pub(crate) const CEILING: &str = "max_deliver";
/// Where it starts, what it wants and how often (compared by themselves), and what the server adds.
pub(crate) const COMPARED_BY_NODES_ALONE: [&str; 12] = [
    CEILING,
    "deliver_policy",
    "opt_start_seq",
    "opt_start_time",
    "filter_subject",
    "filter_subjects",
    "metadata",
    "description",
    "max_waiting",
    "replay_policy",
    "priority_policy",
    "name",
];
/// Messages that the members of a group, or the nodes of a service, may have in flight together.
const GROUP_IN_FLIGHT_MAX: usize = 1000;
/// How long the server keeps a view's consumer after its node is gone.
const VIEW_INACTIVE: Duration = Duration::from_secs(60);

/// The consumer of an audience, except for where it starts.
pub(crate) fn declaration(
    audience: &Audience,
    name: &str,
    filters: &[String],
    in_flight_max: usize,
    config: &Config,
) -> Value {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
    let mut declared = json!({"name": name, "filter_subjects": filters, "replay_policy": "instant"});
    if *audience == Audience::View {
        declared["ack_policy"] = "none".into();
        declared["mem_storage"] = true.into();
        declared["num_replicas"] = 1.into();
        declared["inactive_threshold"] = nanos(VIEW_INACTIVE).into();
        return declared;
    }
    declared["durable_name"] = name.into();
    declared["ack_policy"] = "explicit".into();
    declared["ack_wait"] = nanos(config.ack_wait).into();
    declared[CEILING] = config.deliveries_max.into();
    declared["max_ack_pending"] = match audience {
        Audience::Group(_) | Audience::Jobs => in_flight_max.max(GROUP_IN_FLIGHT_MAX).into(),
        _ => in_flight_max.into(),
    };
    if *audience == Audience::Node {
        declared["inactive_threshold"] = nanos(config.inactive_threshold).into();
    }
    declared
}
