use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::Error;

/// Collects every mistake in an item, so that they are reported together.
#[derive(Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn push(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// A mistake that is underlined from the first to the last of the tokens.
    pub(crate) fn on(&mut self, tokens: impl ToTokens, text: impl Display) {
        self.push(Error::new_spanned(tokens, text));
    }

    /// A mistake at one place.
    pub(crate) fn at(&mut self, span: Span, text: impl Display) {
        self.push(Error::new(span, text));
    }

    /// The value, or nothing and one mistake more.
    pub(crate) fn take<T>(&mut self, result: syn::Result<T>) -> Option<T> {
        result.map_err(|error| self.push(error)).ok()
    }

    /// All mistakes of another part of the item.
    pub(crate) fn join(&mut self, other: Self) {
        if let Some(error) = other.0 {
            self.push(error);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// One `compile_error!` per mistake.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0.map(Error::into_compile_error).unwrap_or_default()
    }
}
