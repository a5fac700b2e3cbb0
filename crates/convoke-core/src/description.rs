use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{MessageKind, NodeIdentity, endpoint::HandlerInfo};

/// What a service handles, for people and programs. `App::describe` makes it, without connecting to anything.
///
/// As JSON it is what `convoke describe` reads; as text it is a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The version of this format: [`Description::FORMAT`].
    pub format: u32,
    /// The service.
    pub service: String,
    /// Its environment or tenant.
    pub namespace: String,
    /// Its handlers, by kind and name.
    pub handlers: Vec<Described>,
    /// What runs on the leader of its cluster, from when it leads until it leads no more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub singletons: Vec<String>,
}

/// One handler.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Described {
    /// Whether it handles a command, a query or an event.
    pub kind: MessageKind,
    /// The message's name on the wire.
    pub name: String,
    /// The handler, such as `Orders::place`.
    pub handler: String,
    /// Where each message is handled.
    pub runs: Runs,
    /// Whether one key is executed once, over all nodes.
    pub idempotent: bool,
    /// The message's type.
    pub message: String,
    /// The reply's type. None for an event.
    pub reply: Option<String>,
    /// The type it refuses with. None for an event.
    pub error: Option<String>,
    /// Where the handler stands in the source.
    pub at: String,
}

/// Where each message is handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Runs {
    /// On one node of the service.
    OneNode,
    /// On the leader of the service's cluster.
    Leader,
    /// On each node of the service, also what it missed while it was down.
    EveryNode,
    /// On each node, from the stream's beginning at every start.
    View,
    /// On one node of a group.
    Group(String),
}

impl Description {
    /// The version of the format that this library writes.
    pub const FORMAT: u32 = 1;

    pub(crate) fn of<'a>(
        identity: &NodeIdentity,
        handlers: impl Iterator<Item = &'a HandlerInfo>,
        singletons: Vec<String>,
    ) -> Self {
        let mut handlers: Vec<_> = handlers.map(Described::of).collect();
        let order = |kind| MessageKind::ALL.iter().position(|known| *known == kind);
        handlers
            .sort_by(|a, b| (order(a.kind), &a.name, &a.handler).cmp(&(order(b.kind), &b.name, &b.handler)));
        let (service, namespace) = (identity.service.clone(), identity.namespace.clone());
        Self { format: Self::FORMAT, service, namespace, handlers, singletons }
    }
}

impl Described {
    fn of(info: &HandlerInfo) -> Self {
        let answered = |name: &str| (info.kind != MessageKind::Event).then(|| name.to_owned());
        Self {
            kind: info.kind,
            name: info.name.to_owned(),
            handler: info.title.clone(),
            runs: Runs::of(info),
            idempotent: info.idempotent,
            message: info.message_name.to_owned(),
            reply: answered(info.reply_name),
            error: answered(info.error_name),
            at: format!("{}:{}", info.at.file(), info.at.line()),
        }
    }

    /// Where it runs, as words: `one node, once per key`.
    #[must_use]
    pub fn runs_on(&self) -> String {
        match &self.runs {
            Runs::OneNode if self.idempotent => "one node, once per key".to_owned(),
            Runs::OneNode => "one node".to_owned(),
            Runs::Leader if self.idempotent => "the leader, once per key".to_owned(),
            Runs::Leader => "the leader".to_owned(),
            Runs::EveryNode => "every node".to_owned(),
            Runs::View => "every node, from the beginning".to_owned(),
            Runs::Group(group) => format!("one node of {group}"),
        }
    }
}

impl Runs {
    fn of(info: &HandlerInfo) -> Self {
        match (info.kind, info.options.view, info.options.group) {
            (MessageKind::Command | MessageKind::Query, ..) if info.options.leader.is_some() => Self::Leader,
            (MessageKind::Command | MessageKind::Query, ..) => Self::OneNode,
            (MessageKind::Event, true, _) => Self::View,
            (MessageKind::Event, false, Some(group)) => Self::Group(group.to_owned()),
            (MessageKind::Event, false, None) => Self::EveryNode,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |of: fn(&Described) -> usize| self.handlers.iter().map(of).max().unwrap_or(0);
        let (name, handler) = (width(|one| one.name.len()), width(|one| one.handler.len()));
        write!(f, "service {} in namespace {}", self.service, self.namespace)?;
        for one in &self.handlers {
            let kind = one.kind.word();
            let runs = one.runs_on();
            write!(f, "\n{kind:<7}  {:<name$}  {:<handler$}  {runs}", one.name, one.handler)?;
        }
        self.singletons.iter().try_for_each(|name| write!(f, "\nsingleton  {name}  the leader"))
    }
}
