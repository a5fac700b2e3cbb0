use std::{
    any::{Any, TypeId, type_name},
    fmt,
    sync::Arc,
};

use crate::{
    Handler, HandlerSpec, Kind, Message, MessageKind,
    behavior::Run,
    endpoint::{Direct, HandlerInfo, Read, Typed, direct},
};

/// Collects handlers while an app is built.
#[derive(Default)]
pub struct Registry {
    pub(crate) handlers: Vec<Registered>,
}

/// One registered handler, without its types.
pub(crate) struct Registered {
    pub(crate) info: HandlerInfo,
    pub(crate) read: Box<dyn Read>,
    pub(crate) run: Box<dyn Run>,
    /// A `Direct<M>`.
    pub(crate) direct: Box<dyn Any + Send + Sync>,
    pub(crate) handler: Arc<dyn Any + Send + Sync>,
}

impl Registry {
    /// Adds one handler. Called by generated code, and by hand for a hand-written `impl Handler<M>`.
    pub fn add<M: Message, S: 'static, H: Handler<M, S>>(&mut self, handler: Arc<H>, spec: HandlerSpec) {
        let info = HandlerInfo {
            name: M::NAME,
            kind: M::Kind::KIND,
            idempotent: M::IDEMPOTENT && M::Kind::KIND == MessageKind::Command,
            title: spec.title(),
            options: spec.options,
            at: spec.at,
            message: TypeId::of::<M>(),
            message_name: type_name::<M>(),
            reply_name: type_name::<M::Reply>(),
            error_name: type_name::<M::Error>(),
        };
        let typed = Typed::<M, S, H>::new(handler.clone());
        let direct: Direct<M> = direct::<M, S, H>;
        self.handlers.push(Registered {
            info,
            read: Box::new(typed.clone()),
            run: Box::new(typed),
            direct: Box::new(direct),
            handler,
        });
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.handlers.iter().map(|h| &h.info)).finish()
    }
}
