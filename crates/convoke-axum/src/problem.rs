use std::borrow::Cow;
use std::fmt::Display;

use convoke_core::{Never, Rejection, Violation};
use http::StatusCode;

mod details;
mod of_error;

pub use details::ProblemDetails;

/// How a refusal looks over HTTP. Implemented for the error enums of your messages; every method has a default.
///
/// ```
/// use convoke_axum::Problem;
/// use http::StatusCode;
///
/// #[derive(Debug, thiserror::Error)]
/// enum ShipOrderError {
///     #[error("there is no order {0}")]
///     Unknown(u64),
///     #[error("the order was shipped already")]
///     Shipped,
/// }
///
/// impl Problem for ShipOrderError {
///     fn status(&self) -> StatusCode {
///         match self {
///             Self::Unknown(_) => StatusCode::NOT_FOUND,
///             Self::Shipped => StatusCode::CONFLICT,
///         }
///     }
/// }
/// assert_eq!(ShipOrderError::Shipped.code(), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it looks over HTTP",
    label = "this refusal has no HTTP status",
    note = "write `impl convoke::http::Problem for {Self} {{}}`: it is answered 422 then, or what its `status` says"
)]
pub trait Problem: Display {
    /// The status it is answered with. Default: 422, understood and refused.
    fn status(&self) -> StatusCode {
        StatusCode::UNPROCESSABLE_ENTITY
    }

    /// A word a program can branch on, such as `order.shipped`. Default: none.
    fn code(&self) -> Option<Cow<'_, str>> {
        None
    }

    /// What this kind of problem is called, the same each time. Default: the words of the status.
    fn title(&self) -> Cow<'_, str> {
        self.status().canonical_reason().unwrap_or("Refused").into()
    }

    /// The fields it is about, each with what is wrong. Default: none.
    fn fields(&self) -> Vec<Violation> {
        Vec::new()
    }
}

impl Problem for Never {}

impl Problem for Rejection {
    fn code(&self) -> Option<Cow<'_, str>> {
        (!self.code.is_empty()).then(|| self.code.as_str().into())
    }
}
