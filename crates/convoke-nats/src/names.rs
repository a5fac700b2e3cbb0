//! Names of subjects, streams and consumers.

use convoke_core::{Audience, LANE_UNKEYED, MessageKind, NodeIdentity, Place};
use uuid::Uuid;

use crate::{Error, lanes::lanes_of};

/// Longest namespace, service, group or node id. NATS stores consumers in folders of their name.
const WORD_BYTES_MAX: usize = 64;

/// One token of a subject and of a consumer's name: letters, digits, `-` and `_`.
pub(crate) fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

pub(crate) fn is_wire_name(text: &str) -> bool {
    text.len() <= 200 && text.split('.').all(is_word)
}

/// The second token of a replay's subject, which says whom it is for with three more before the name.
const REPLAY: &str = "replay";
const REPLAY_TOKENS: usize = 3;

/// Where the server tells about consumers.
pub(crate) const ADVISORY: &str = "$JS.EVENT.ADVISORY.CONSUMER";

/// The streams that consumers read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Events,
    /// Enqueued commands.
    Jobs,
    /// Enqueued commands that had to wait for their time, in a stream of their own: the server refuses to
    /// schedule in one that refuses what it has no room for.
    Due,
    /// Dead letters on their way back to whom gave them up.
    Replays,
    /// What the server says about messages that it will not hand over any more.
    GivenUp,
}

impl Source {
    fn verb(self) -> &'static str {
        match self {
            Self::Events => "evt",
            Self::Jobs => "job",
            Self::Due => "due",
            Self::Replays => REPLAY,
            Self::GivenUp => "given-up", // its subjects are the server's
        }
    }
    fn stream(self) -> &'static str {
        match self {
            Self::Events => "EVENTS",
            Self::Jobs => "JOBS",
            Self::Due => "SCHEDULE",
            Self::Replays => "REPLAY",
            Self::GivenUp => "GIVEN_UP",
        }
    }
}

/// The lanes that a consumer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lanes {
    All,
    /// The lane of what has no key, in a group that divides the others.
    Unkeyed,
    /// A part of the others.
    Span(usize),
}

/// The names a node uses, all checked.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) service: String,
    pub(crate) node: String,
}

impl Names {
    pub(crate) fn new(identity: &NodeIdentity) -> Result<Self, Error> {
        let word = |what: &str, text: &str| {
            if is_word(text) {
                return Ok(text.to_owned());
            }
            Err(Error::config(format!(
                "the {what} {text:?} cannot be used with NATS: it has 1 to 64 letters, digits, `-` and `_` only"
            )))
        };
        // consumers are called `<service>__<node>` and so on
        let apart = |what: &str, text: &str, ok: bool| {
            if ok {
                return Ok(());
            }
            Err(Error::config(format!(
                "the {what} {text:?} cannot be used with NATS: `__` stands between names there, and a service does \
                 not end in `_`"
            )))
        };
        let (service, node) = (&identity.service, &identity.node);
        apart("service name", service, !service.contains("__") && !service.ends_with('_'))?;
        apart("node id", node, !node.contains("__"))?;
        Ok(Self {
            namespace: word("namespace", &identity.namespace)?,
            service: word("service name", &identity.service)?,
            node: word("node id", &identity.node)?,
        })
    }

    /// The names that belong to no node.
    pub(crate) fn of_namespace(namespace: &str) -> Result<Self, Error> {
        Self::of_service(namespace, "none")
    }
    /// The names that a service has in common.
    pub(crate) fn of_service(namespace: &str, service: &str) -> Result<Self, Error> {
        let (namespace, service) = (namespace.to_owned(), service.to_owned());
        Self::new(&NodeIdentity { namespace, service, node: "none".to_owned() })
    }

    /// Where requests of this name go; `None` when it is no wire name.
    pub(crate) fn request(&self, kind: MessageKind, name: &str) -> Option<String> {
        let verb = if kind == MessageKind::Query { "qry" } else { "cmd" };
        is_wire_name(name).then(|| format!("{}.{verb}.{name}", self.namespace))
    }
    /// Where messages of this name go that are stored; `None` when it is no wire name.
    pub(crate) fn stored(&self, source: Source, lane: u8, name: &str) -> Option<String> {
        is_wire_name(name).then(|| format!("{}.{}.{lane:02}.{name}", self.namespace, source.verb()))
    }
    /// The same in every lane.
    pub(crate) fn stored_in_all(&self, source: Source, name: &str) -> Option<String> {
        is_wire_name(name).then(|| format!("{}.{}.*.{name}", self.namespace, source.verb()))
    }
    /// The subjects of this name in some lanes.
    pub(crate) fn stored_in(&self, source: Source, lanes: Lanes, name: &str) -> Vec<String> {
        match lanes {
            Lanes::All => self.stored_in_all(source, name).into_iter().collect(),
            Lanes::Unkeyed => self.stored(source, LANE_UNKEYED, name).into_iter().collect(),
            Lanes::Span(span) => lanes_of(span).filter_map(|lane| self.stored(source, lane, name)).collect(),
        }
    }
    /// Whether the subject of a stored message is in the lane of what has no key.
    pub(crate) fn is_unkeyed(&self, subject: &str) -> bool {
        let rest = subject.strip_prefix(self.namespace.as_str()).and_then(|rest| rest.split('.').nth(2));
        rest.and_then(|lane| lane.parse().ok()) == Some(LANE_UNKEYED)
    }
    /// The wire name in the subject of a stored message.
    pub(crate) fn stored_name<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix('.')?;
        let (verb, rest) = rest.split_once('.')?;
        let before_the_name = if verb == REPLAY { REPLAY_TOKENS } else { 1 };
        (0..before_the_name).try_fold(rest, |rest, _| rest.split_once('.').map(|(_, rest)| rest))
    }
    /// What the consumer of an audience reads of the replays.
    pub(crate) fn replays(&self, audience: &Audience) -> String {
        let Self { namespace, service, node } = self;
        match audience {
            Audience::Group(group) => format!("{namespace}.{REPLAY}.{service}.group.{group}.>"),
            Audience::Jobs => format!("{namespace}.{REPLAY}.{service}.jobs.all.>"),
            Audience::Node | Audience::View => format!("{namespace}.{REPLAY}.{service}.node.{node}.>"),
        }
    }
    /// Its name: those of nodes and groups and jobs lie in one stream here.
    pub(crate) fn replay_consumer(&self, audience: &Audience) -> String {
        match audience {
            Audience::Group(group) => format!("{}__group__{group}", self.service),
            Audience::Jobs => format!("{}__jobs", self.service),
            Audience::Node | Audience::View => format!("{}__node__{}", self.service, self.node),
        }
    }
    /// Where the nodes of the service say that they are there.
    pub(crate) fn members(&self) -> String {
        format!("{}.members.{}", self.namespace, self.service)
    }
    /// Where it stands whose the lanes of a group are. Node ids have no dots.
    pub(crate) fn lanes_record(&self, group: &str) -> String {
        format!("$KV.{}.lanes.{}.{group}", self.nodes_bucket(), self.service)
    }
    /// Where a command waits for its time.
    pub(crate) fn schedule(&self, id: Uuid) -> String {
        format!("{}.sched.{id}", self.namespace)
    }
    /// Where the node id is claimed.
    pub(crate) fn node_record(&self) -> String {
        format!("$KV.{}.{}", self.nodes_bucket(), self.node)
    }
    pub(crate) fn nodes_bucket(&self) -> String {
        format!("{}_NODES", self.namespace.to_ascii_uppercase())
    }
    pub(crate) fn dead(&self, name: &str) -> String {
        self.dead_of(&self.service, name)
    }
    pub(crate) fn dead_of(&self, service: &str, name: &str) -> String {
        format!("{}.dead.{service}.{name}", self.namespace)
    }
    /// What the server says when it gives up a message of a stream.
    pub(crate) fn given_up(&self, source: Source) -> [String; 2] {
        let stream = self.stream(source);
        ["MAX_DELIVERIES", "MSG_TERMINATED"].map(|what| format!("{ADVISORY}.{what}.{stream}.>"))
    }
    /// Where a request goes that is for one node; `None` when it is no wire name or no node id.
    pub(crate) fn forward(&self, node: &str, name: &str) -> Option<String> {
        (is_word(node) && is_wire_name(name))
            .then(|| format!("{}.node.{node}.forward.{name}", self.namespace))
    }
    /// What comes before the wire name in the subjects of requests for this node.
    pub(crate) fn forwarded(&self) -> String {
        format!("{}.node.{}.forward.", self.namespace, self.node)
    }
    pub(crate) fn ping(&self) -> String {
        format!("{}.node.{}.ping", self.namespace, self.node)
    }
    pub(crate) fn stream(&self, source: Source) -> String {
        format!("{}_{}", self.namespace.to_ascii_uppercase(), source.stream())
    }
    pub(crate) fn parked_stream(&self) -> String {
        format!("{}_PARKED", self.namespace.to_ascii_uppercase())
    }
    /// What tells who holds a key.
    pub(crate) fn park_head(&self, place: &Place) -> String {
        self.park("head", place)
    }
    /// What waits behind it.
    pub(crate) fn park_wait(&self, place: &Place) -> String {
        self.park("wait", place)
    }
    fn park(&self, verb: &str, Place { name, target, word }: &Place) -> String {
        format!("{}.park.{verb}.{}.{target}.{word}.{name}", self.namespace, self.service)
    }
    pub(crate) fn dead_stream(&self) -> String {
        format!("{}_DEAD", self.namespace.to_ascii_uppercase())
    }
    /// The consumer of an audience. A view's belongs to this run of the node.
    pub(crate) fn consumer(&self, audience: &Audience, instance: &str) -> Result<String, Error> {
        match audience {
            Audience::Node => Ok(format!("{}__{}", self.service, self.node)),
            Audience::Group(group) if is_word(group) => Ok(format!("{}__group__{group}", self.service)),
            Audience::Group(group) => Err(Error::config(format!(
                "the group {group:?} cannot be used with NATS: it has 1 to 64 letters, digits, `-` and `_` only"
            ))),
            Audience::View => Ok(format!("{}__{}__view__{instance}", self.service, self.node)),
            Audience::Jobs => Ok(format!("{}__jobs", self.service)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(namespace: &str, node: &str) -> Result<Names, Error> {
        let (namespace, node) = (namespace.to_owned(), node.to_owned());
        Names::new(&NodeIdentity { namespace, service: "orders".to_owned(), node })
    }

    #[test]
    fn names_follow_the_layout() {
        let names = names("convoke", "n-1").expect("good names");
        assert_eq!(
            names.request(MessageKind::Command, "orders.place.v1").as_deref(),
            Some("convoke.cmd.orders.place.v1")
        );
        assert_eq!(
            names.request(MessageKind::Query, "orders.get.v1").as_deref(),
            Some("convoke.qry.orders.get.v1")
        );
        let stored = |source| names.stored(source, 7, "orders.placed.v1");
        assert_eq!(stored(Source::Events).as_deref(), Some("convoke.evt.07.orders.placed.v1"));
        assert_eq!(stored(Source::Jobs).as_deref(), Some("convoke.job.07.orders.placed.v1"));
        assert_eq!(stored(Source::Due).as_deref(), Some("convoke.due.07.orders.placed.v1"));
        assert_eq!(names.stored_name("convoke.evt.07.orders.placed.v1"), Some("orders.placed.v1"));
        let placed = "orders.placed.v1";
        let unkeyed = names.stored_in(Source::Events, Lanes::Unkeyed, placed);
        assert_eq!(unkeyed, ["convoke.evt.64.orders.placed.v1"]);
        assert!(names.is_unkeyed(&unkeyed[0]));
        let span = names.stored_in(Source::Events, Lanes::Span(2), placed);
        assert_eq!(span.len(), 4);
        assert_eq!(
            (&*span[0], &*span[3]),
            ("convoke.evt.08.orders.placed.v1", "convoke.evt.11.orders.placed.v1")
        );
        assert!(!names.is_unkeyed(&span[0]));
        assert_eq!(names.lanes_record("billing"), "$KV.CONVOKE_NODES.lanes.orders.billing");
        assert_eq!(names.schedule(Uuid::nil()), "convoke.sched.00000000-0000-0000-0000-000000000000");
        assert_eq!(names.node_record(), "$KV.CONVOKE_NODES.n-1");
        assert_eq!(names.stream(Source::Events), "CONVOKE_EVENTS");
        assert_eq!(names.consumer(&Audience::Jobs, "i").expect("a name"), "orders__jobs");
        assert_eq!(names.consumer(&Audience::Node, "i").expect("a name"), "orders__n-1");
        assert_eq!(names.consumer(&Audience::View, "i").expect("a name"), "orders__n-1__view__i");
        let forward = names.forward("n-1", "orders.ship.v1").expect("good names");
        assert_eq!(forward, "convoke.node.n-1.forward.orders.ship.v1");
        assert_eq!(forward.strip_prefix(&*names.forwarded()), Some("orders.ship.v1"));
    }

    #[test]
    fn a_replay_says_whom_it_is_for() {
        let names = names("convoke", "n-1").expect("good names");
        let group = Audience::Group("billing".to_owned());
        let filters =
            [Audience::Node, group.clone(), Audience::Jobs].map(|audience| names.replays(&audience));
        assert_eq!(
            filters,
            [
                "convoke.replay.orders.node.n-1.>",
                "convoke.replay.orders.group.billing.>",
                "convoke.replay.orders.jobs.all.>"
            ]
        );
        assert_eq!(
            names.stored_name("convoke.replay.orders.node.n-1.orders.placed.v1"),
            Some("orders.placed.v1")
        );
        let consumers = [Audience::Node, group, Audience::Jobs].map(|a| names.replay_consumer(&a));
        assert_eq!(consumers, ["orders__node__n-1", "orders__group__billing", "orders__jobs"]);
    }

    #[test]
    fn a_node_and_a_group_of_one_name_have_two_consumers() {
        let names = names("convoke", "billing").expect("good names");
        let group = names.consumer(&Audience::Group("billing".to_owned()), "i").expect("a name");
        assert_ne!(group, names.consumer(&Audience::Node, "i").expect("a name"));
    }

    #[test]
    fn words_that_would_change_a_subject_are_refused() {
        for bad in ["", "a.b", "a b", "*", ">", "ä", "a__b", &"x".repeat(65)] {
            let text = names("convoke", bad).expect_err("a bad node id").to_string();
            assert!(text.contains("node id"), "{text}");
            assert!(bad == "a__b" || names(bad, "n1").is_err(), "{bad:?}");
        }
        let names = names("convoke", "n1").expect("good names");
        for bad in ["", "a..b", ".a", "a.*", "a >"] {
            assert_eq!(names.request(MessageKind::Command, bad), None, "{bad:?}");
        }
    }
}
