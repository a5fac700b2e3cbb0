//! One handler of one node: its types erased, its pipeline built, its limits counted.
mod gate;
mod idempotent;
mod led;
mod run;
mod serve;
mod typed;

use std::{
    any::{Any, TypeId},
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::{
    CodecError, Config, Failed, Limits, Message, MessageBody, MessageKind, OnDead, Options, Payload,
    behavior::{Link, Wrap, pipeline},
    node::NodeInner,
    registry::Registered,
};

pub(crate) use gate::Gate;
pub(crate) use idempotent::{Held, stored_outcome, under_lease};
pub(crate) use led::reached_nobody;
pub(crate) use run::{before, panic_text};
pub(crate) use serve::Server;
pub(crate) use typed::{Asked, Direct, Sent, Typed, direct};

/// What is known about a handler.
#[derive(Debug)]
pub(crate) struct HandlerInfo {
    pub(crate) name: &'static str,
    pub(crate) kind: MessageKind,
    pub(crate) idempotent: bool,
    /// Such as `Orders::place`.
    pub(crate) title: String,
    pub(crate) options: Options,
    pub(crate) at: &'static Location<'static>,
    pub(crate) message: TypeId,
    pub(crate) message_name: &'static str,
    pub(crate) reply_name: &'static str,
    pub(crate) error_name: &'static str,
}

/// Makes a message of what arrived.
pub(crate) trait Read: Send + Sync {
    fn read(&self, payload: &Payload, limits: &Limits) -> Result<Arc<dyn MessageBody>, CodecError>;
}

pub(crate) struct Endpoint {
    pub(crate) info: HandlerInfo,
    pub(crate) gate: Gate,
    pub(crate) timeout: Duration,
    /// Faulted runs before the message is a dead letter.
    pub(crate) attempts_max: u32,
    /// The pause after the first of them.
    pub(crate) backoff: Duration,
    /// Without behaviours: a call that stays in the process may skip the pipeline.
    plain: bool,
    /// Whether a run may have to be repeated because another writer was faster.
    writes: bool,
    /// Whether a run of it has staged something that went to the outbox.
    stages: AtomicBool,
    read: Box<dyn Read>,
    link: Arc<Link>,
    direct: Box<dyn Any + Send + Sync>,
    handler: Arc<dyn Any + Send + Sync>,
}

impl Endpoint {
    /// `writes`: whether an application's own writes can join a commit.
    pub(crate) fn new(registered: Registered, wraps: &[Wrap], config: &Config, writes: bool) -> Self {
        let Registered { info, read, run, direct, handler } = registered;
        let writes = writes && info.kind == MessageKind::Command;
        let concurrency = info.options.concurrency.unwrap_or(config.concurrency).max(1);
        Self {
            gate: Gate::new(concurrency, config.queue_max),
            timeout: info.options.timeout.unwrap_or(config.handler_timeout),
            attempts_max: info.options.attempts.unwrap_or(config.attempts_max),
            backoff: info.options.backoff.unwrap_or(config.backoff),
            plain: wraps.is_empty() && !info.idempotent && !writes && info.options.leader.is_none(),
            writes,
            stages: AtomicBool::new(false),
            link: pipeline(wraps, run),
            info,
            read,
            direct,
            handler,
        }
    }

    /// Refuses new work when the outbox is full and this handler is one that fills it.
    pub(crate) fn admit_staging(&self, node: &NodeInner) -> Result<(), Failed> {
        match &node.relay {
            Some(relay) if self.stages.load(Ordering::Relaxed) => relay.admit(),
            _ => Ok(()),
        }
    }

    /// It staged something that goes to the outbox.
    pub(crate) fn note_staged(&self) {
        self.stages.store(true, Ordering::Relaxed);
    }

    /// Whether later messages of a key wait behind its dead letter.
    pub(crate) fn parks(&self) -> bool {
        self.info.options.on_dead == OnDead::Park
    }

    pub(crate) fn read(
        &self,
        payload: &Payload,
        limits: &Limits,
    ) -> Result<Arc<dyn MessageBody>, CodecError> {
        self.read.read(payload, limits)
    }

    /// The handler with its type.
    fn handler<H: 'static>(&self) -> Option<&H> {
        self.handler.downcast_ref()
    }

    /// The typed way in, when nothing stands between caller and handler.
    pub(crate) fn direct<M: Message>(&self) -> Option<Direct<M>> {
        if self.plain { self.direct.downcast_ref().copied() } else { None }
    }
}
