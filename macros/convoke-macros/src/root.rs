use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote_spanned};
use syn::{Path, parse::Parser};

use crate::attribute::Opt;

/// Where generated code finds the facade: `::convoke`, or what `crate = ".."` says.
#[derive(Clone, Default)]
pub(crate) struct Root(Option<Path>);

impl Root {
    /// The value of `crate = "my_bus::convoke"`.
    pub(crate) fn read(option: &Opt<'_>) -> syn::Result<Self> {
        let example = "crate = \"my_bus::convoke\"";
        let literal = option.string(example)?;
        let path =
            literal.parse::<TokenStream>().and_then(|tokens| Path::parse_mod_style.parse2(tokens)).map_err(
                |_| syn::Error::new(literal.span(), format!("`crate` is a path in a string: `{example}`")),
            )?;
        Ok(Self(Some(path)))
    }

    /// The path with its tokens at `span`, so that what goes wrong behind it is reported there.
    ///
    /// A call through it is located there as well, which takes tokens that do not say they are generated.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        match &self.0 {
            Some(path) => respan(path, span),
            None => quote_spanned!(span=> ::convoke),
        }
    }
}

impl ToTokens for Root {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.at(Span::call_site()));
    }
}

/// The same tokens at another place, so that a bound fails where the user can act on it.
pub(crate) fn respan(tokens: impl ToTokens, span: Span) -> TokenStream {
    let moved = tokens.into_token_stream().into_iter().map(|mut tree| {
        if let TokenTree::Group(group) = &tree {
            tree = Group::new(group.delimiter(), respan(group.stream(), span)).into();
        }
        // Located there, but resolved where it came from: hygiene stays as it was.
        tree.set_span(tree.span().located_at(span));
        tree
    });
    moved.collect()
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;
    use crate::{handler, handlers, message, service};

    /// Nothing that is generated goes around `crate = ".."`.
    #[track_caller]
    fn check(generated: TokenStream) {
        let text = generated.to_string();
        assert!(!text.contains("compile_error"), "{text}");
        assert!(text.contains("my_bus :: exported ::"), "{text}");
        assert!(!text.contains("convoke"), "{text}");
    }

    #[test]
    fn derived_messages_use_the_given_crate() {
        for (kind, options) in [
            (
                message::Kind::Command,
                quote!(#[command(name = "a.b.v1", crate = "my_bus::exported", idempotent)]),
            ),
            (message::Kind::Query, quote!(#[query(name = "a.b.v1", validate, crate = "my_bus::exported")])),
            (message::Kind::Event, quote!(#[event(crate = "my_bus::exported", name = "a.b.v1", key = 0)])),
        ] {
            check(message::expand(quote!(#options struct M(u64);), kind));
        }
    }

    #[test]
    fn services_and_handlers_use_the_given_crate() {
        let root = quote!(crate = "my_bus::exported");
        check(service::expand(quote! {
            #[service(#root)]
            struct S { store: Store, #[service(default)] count: u64 }
        }));
        check(handlers::expand(
            root.clone(),
            quote! {
                impl S {
                    #[handler(group = "g", timeout = "1s")]
                    async fn on(&self, _: M, cx: &Context) -> Handled {}
                    #[handler(leader, on_store_error = "proceed", concurrency = 2)]
                    async fn put(&self, _: N) -> Outcome<N> {}
                }
            },
        ));
        check(handler::expand(
            quote!(view, #root),
            quote!(
                async fn on(_: M, cx: &Context, State(store): State<Store>) -> Handled {}
            ),
        ));
    }
}
