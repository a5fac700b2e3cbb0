use std::{
    any::{Any, TypeId, type_name},
    collections::HashMap,
    panic::Location,
};

/// A value the app can hand to services: cloned into each.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be handed to a service",
    label = "needs `Clone`, `Send`, `Sync` and `'static`",
    note = "the state of the app is cloned into each service: derive `Clone`, or hold an `Arc<{Self}>`"
)]
pub trait Provide: Clone + Send + Sync + 'static {}
#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Provide for T {}

/// The state of an app, by type.
#[derive(Debug, Default)]
pub(crate) struct StateMap {
    values: HashMap<TypeId, (Box<dyn Any + Send + Sync>, &'static Location<'static>)>,
}

impl StateMap {
    /// Answers where an earlier value of the type was given.
    pub(crate) fn insert<T: Provide>(
        &mut self,
        value: T,
        at: &'static Location<'static>,
    ) -> Option<&'static Location<'static>> {
        self.values.insert(TypeId::of::<T>(), (Box::new(value), at)).map(|(_, first)| first)
    }
}

/// Who needs a value, and where it says so.
#[derive(Debug, Clone, Copy)]
pub struct Need {
    /// The service or function.
    pub owner: &'static str,
    /// Its field or argument.
    pub part: &'static str,
    /// Where that stands.
    pub at: &'static Location<'static>,
}

/// Reads the state while services are built, and notes what is missing.
#[derive(Debug)]
pub struct Wiring<'a> {
    state: &'a StateMap,
    pub(crate) missing: Vec<String>,
}

impl<'a> Wiring<'a> {
    pub(crate) fn new(state: &'a StateMap) -> Self {
        Self { state, missing: Vec::new() }
    }

    /// A clone of the `T` in the state.
    pub fn get<T: Provide>(&mut self, need: Need) -> Option<T> {
        let value = self.state.values.get(&TypeId::of::<T>());
        let found = value.and_then(|(value, _)| value.downcast_ref::<T>()).cloned();
        if found.is_none() {
            let Need { owner, part, at } = need;
            let wanted = type_name::<T>();
            self.missing
                .push(format!("`{owner}` needs a `{wanted}` for {part} ({at}): add `.state(..)` with one"));
        }
        found
    }
}
