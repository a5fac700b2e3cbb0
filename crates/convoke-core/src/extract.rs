use crate::{Context, Fault, Mediator, Need, Provide, Wiring};

/// An argument of a `#[handler]` function besides its message and `&Context`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of a handler",
    label = "not the message, not `&Context`, and not an extractor",
    note = "take `State<{Self}>` for a value of the app's state, or implement `Extract` for `{Self}`"
)]
pub trait Extract: Sized + Send {
    /// What is looked up once, when the app is built.
    type Prepared: Send + Sync + 'static;
    /// Looks it up. `None` when something is missing; `wiring` has noted what.
    fn prepare(wiring: &mut Wiring<'_>, need: Need) -> Option<Self::Prepared>;
    /// Makes the argument for one message.
    ///
    /// # Errors
    /// A fault, as if the handler had failed with it.
    fn extract(prepared: &Self::Prepared, cx: &Context) -> impl Future<Output = Result<Self, Fault>> + Send;
}

/// A value of the app's state.
#[derive(Debug, Clone)]
pub struct State<T>(pub T);

impl<T: Provide> Extract for State<T> {
    type Prepared = T;
    fn prepare(wiring: &mut Wiring<'_>, need: Need) -> Option<T> {
        wiring.get(need)
    }
    async fn extract(prepared: &T, _: &Context) -> Result<Self, Fault> {
        Ok(Self(prepared.clone()))
    }
}

impl Extract for Mediator {
    type Prepared = ();
    fn prepare(_: &mut Wiring<'_>, _: Need) -> Option<()> {
        Some(())
    }
    async fn extract((): &(), cx: &Context) -> Result<Self, Fault> {
        Ok(cx.mediator())
    }
}
