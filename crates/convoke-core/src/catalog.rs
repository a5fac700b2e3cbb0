use std::{
    any::{TypeId, type_name},
    panic::Location,
    sync::Arc,
};

use crate::{Handler, HandlerSpec, Kind, Message, MessageKind, Registry, Service, Sole, Wiring};

/// A message type that is compiled in.
#[derive(Debug, Clone, Copy)]
pub struct MessageEntry {
    pub(crate) name: &'static str,
    pub(crate) kind: MessageKind,
    pub(crate) type_name: fn() -> &'static str,
    pub(crate) at: &'static Location<'static>,
}
inventory::collect!(MessageEntry);

impl MessageEntry {
    /// The entry of `M`, derived at `at`.
    pub const fn of<M: Message>(at: &'static Location<'static>) -> Self {
        Self { name: M::NAME, kind: M::Kind::KIND, type_name: type_name::<M>, at }
    }
}

/// A service or a function that is compiled in.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub(crate) title: &'static str,
    pub(crate) module: &'static str,
    /// The service's type, or the function's own type.
    pub(crate) type_id: fn() -> TypeId,
    pub(crate) wire: fn(&mut Wiring<'_>, &mut Registry),
    pub(crate) at: &'static Location<'static>,
}
inventory::collect!(Entry);

impl Entry {
    /// A `#[derive(Service)]` type.
    pub const fn service<S: Service>(
        title: &'static str,
        module: &'static str,
        at: &'static Location<'static>,
    ) -> Self {
        fn wire<S: Service>(wiring: &mut Wiring<'_>, registry: &mut Registry) {
            if let Some(service) = S::from_state(wiring) {
                Arc::new(service).register(registry);
            }
        }
        Self { title, module, type_id: TypeId::of::<S>, wire: wire::<S>, at }
    }

    /// A `#[handler] async fn`.
    pub const fn function(
        spec: HandlerSpec,
        module: &'static str,
        type_id: fn() -> TypeId,
        wire: fn(&mut Wiring<'_>, &mut Registry),
    ) -> Self {
        Self { title: spec.method, module, type_id, wire, at: spec.at }
    }

    /// The type of a function item, which has no name.
    pub fn type_of<F: 'static>(_: F) -> TypeId {
        TypeId::of::<F>()
    }

    /// Registers a function's handler.
    pub fn add<M: Message, H: Handler<M>>(handler: H, spec: HandlerSpec, registry: &mut Registry) {
        registry.add::<M, Sole, H>(Arc::new(handler), spec);
    }

    pub(crate) fn crate_name(&self) -> &'static str {
        self.module.split("::").next().unwrap_or(self.module)
    }
}

/// Messages that must have a handler. Made by [`catalog!`](crate::catalog).
#[derive(Debug, Clone, Copy)]
pub struct Catalog(#[doc(hidden)] pub &'static [Expected]);

/// One message of a [`Catalog`].
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    pub(crate) name: &'static str,
    pub(crate) kind: MessageKind,
    pub(crate) type_id: fn() -> TypeId,
    pub(crate) type_name: fn() -> &'static str,
}

impl Expected {
    /// The entry of `M`.
    pub const fn of<M: Message>() -> Self {
        Self { name: M::NAME, kind: M::Kind::KIND, type_id: TypeId::of::<M>, type_name: type_name::<M> }
    }
}

/// The messages an app must handle, for `App::expects`: `catalog!(PlaceOrder, CountOrders)`.
#[macro_export]
macro_rules! catalog {
    ($($Message:ty),* $(,)?) => { $crate::Catalog(const { &[$($crate::Expected::of::<$Message>()),*] }) };
}

/// Names crates for `App::discover_in`, and links them by naming them: `crates![orders, billing]`.
#[macro_export]
macro_rules! crates {
    ($($krate:ident),* $(,)?) => {{
        $(#[expect(unused_imports, reason = "naming the crate is what links it")] use $krate as _;)*
        &[$(::core::stringify!($krate)),*]
    }};
}
