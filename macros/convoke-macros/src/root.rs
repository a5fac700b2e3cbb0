use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{Path, parse::Parser};

use crate::attribute::Opt;

/// Where generated code finds the facade: `::convoke`, or what `crate = ".."` says.
#[derive(Clone)]
pub(crate) struct Root(TokenStream);

impl Default for Root {
    fn default() -> Self {
        Self(quote!(::convoke))
    }
}

impl Root {
    /// The value of `crate = "my_bus::convoke"`.
    pub(crate) fn read(option: &Opt<'_>) -> syn::Result<Self> {
        let example = "crate = \"my_bus::convoke\"";
        let literal = option.string(example)?;
        let path =
            literal.parse::<TokenStream>().and_then(|tokens| Path::parse_mod_style.parse2(tokens)).map_err(
                |_| syn::Error::new(literal.span(), format!("`crate` is a path in a string: `{example}`")),
            )?;
        Ok(Self(path.into_token_stream()))
    }

    /// The path with its tokens at `span`, so that what goes wrong behind it is reported there.
    pub(crate) fn at(&self, span: Span) -> TokenStream {
        respan(&self.0, span)
    }
}

impl ToTokens for Root {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.0.to_tokens(tokens);
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
