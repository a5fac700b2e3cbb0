//! Names of subjects, streams and consumers.

use convoke_core::{Audience, MessageKind, NodeIdentity};

use crate::Error;

/// Longest namespace, service, group or node id. NATS stores consumers in folders of their name.
const WORD_BYTES_MAX: usize = 64;

/// One token of a subject and of a consumer's name: letters, digits, `-` and `_`.
pub(crate) fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

fn is_wire_name(text: &str) -> bool {
    text.len() <= 200 && text.split('.').all(is_word)
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
        Ok(Self {
            namespace: word("namespace", &identity.namespace)?,
            service: word("service name", &identity.service)?,
            node: word("node id", &identity.node)?,
        })
    }

    /// Where requests of this name go; `None` when it is no wire name.
    pub(crate) fn request(&self, kind: MessageKind, name: &str) -> Option<String> {
        let verb = if kind == MessageKind::Query { "qry" } else { "cmd" };
        is_wire_name(name).then(|| format!("{}.{verb}.{name}", self.namespace))
    }
    pub(crate) fn event(&self, lane: u8, name: &str) -> Option<String> {
        is_wire_name(name).then(|| format!("{}.evt.{lane:02}.{name}", self.namespace))
    }
    /// Events of this name in every lane.
    pub(crate) fn events_of(&self, name: &str) -> Option<String> {
        is_wire_name(name).then(|| format!("{}.evt.*.{name}", self.namespace))
    }
    /// The wire name in the subject of an event.
    pub(crate) fn event_name<'a>(&self, subject: &'a str) -> Option<&'a str> {
        let rest = subject.strip_prefix(self.namespace.as_str())?.strip_prefix(".evt.")?;
        rest.split_once('.').map(|(_lane, name)| name)
    }
    pub(crate) fn dead(&self, name: &str) -> String {
        format!("{}.dead.{}.{name}", self.namespace, self.service)
    }
    pub(crate) fn ping(&self) -> String {
        format!("{}.node.{}.ping", self.namespace, self.node)
    }
    pub(crate) fn events_stream(&self) -> String {
        format!("{}_EVENTS", self.namespace.to_ascii_uppercase())
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
        assert_eq!(names.event(7, "orders.placed.v1").as_deref(), Some("convoke.evt.07.orders.placed.v1"));
        assert_eq!(names.event_name("convoke.evt.07.orders.placed.v1"), Some("orders.placed.v1"));
        assert_eq!(names.events_stream(), "CONVOKE_EVENTS");
        assert_eq!(names.consumer(&Audience::Node, "i").expect("a name"), "orders__n-1");
        assert_eq!(names.consumer(&Audience::View, "i").expect("a name"), "orders__n-1__view__i");
    }

    #[test]
    fn a_node_and_a_group_of_one_name_have_two_consumers() {
        let names = names("convoke", "billing").expect("good names");
        let group = names.consumer(&Audience::Group("billing".to_owned()), "i").expect("a name");
        assert_ne!(group, names.consumer(&Audience::Node, "i").expect("a name"));
    }

    #[test]
    fn words_that_would_change_a_subject_are_refused() {
        for bad in ["", "a.b", "a b", "*", ">", "ä", &"x".repeat(65)] {
            let text = names("convoke", bad).expect_err("a bad node id").to_string();
            assert!(text.contains("node id"), "{text}");
            assert!(names(bad, "n1").is_err(), "{bad:?}");
        }
        let names = names("convoke", "n1").expect("good names");
        for bad in ["", "a..b", ".a", "a.*", "a >"] {
            assert_eq!(names.request(MessageKind::Command, bad), None, "{bad:?}");
        }
    }
}
