use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, GenericParam, spanned::Spanned};

use crate::errors::Errors;

mod options;

use options::{Options, Validate};

/// The three kinds of messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Command,
    Query,
    Event,
}

impl Kind {
    /// The name of its attribute.
    fn attribute(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::Query => "query",
            Self::Event => "event",
        }
    }

    /// A wire name to show.
    fn example(self) -> &'static str {
        match self {
            Self::Command => "orders.place.v1",
            Self::Query => "orders.count.v1",
            Self::Event => "orders.placed.v1",
        }
    }

    fn marker(self) -> TokenStream {
        match self {
            Self::Command => quote!(Command),
            Self::Query => quote!(Query),
            Self::Event => quote!(Event),
        }
    }
}

pub(crate) fn expand(input: TokenStream, kind: Kind) -> TokenStream {
    let input: DeriveInput = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let options = Options::read(&input, kind, &mut errors);
    // With a mistake in an option the type is a message all the same: its handlers are not blamed as well.
    let generated = check(&input, &options, &mut errors).then(|| generate(&input, kind, &options));
    let errors = errors.into_tokens();
    quote!(#errors #generated)
}

/// Whether the item can be a message at all.
fn check(input: &DeriveInput, options: &Options, errors: &mut Errors) -> bool {
    for parameter in &input.generics.params {
        match parameter {
            GenericParam::Lifetime(lifetime) => {
                errors.on(lifetime, "a message owns its data: write `String` instead of `&str`");
            }
            GenericParam::Type(_) | GenericParam::Const(_) => {
                let text =
                    "a message has no generics: one wire name stands for one type, so write that type out";
                errors.on(parameter, text);
            }
        }
    }
    match &input.data {
        Data::Struct(_) => {}
        Data::Enum(_) => {
            if let Some(key) = &options.key {
                errors.on(key, "`key` names a field of a struct, and this message is an enum");
                return false;
            }
        }
        Data::Union(data) => {
            errors.on(data.union_token, "a message is a struct or an enum");
            return false;
        }
    }
    input.generics.params.is_empty()
}

fn generate(input: &DeriveInput, kind: Kind, options: &Options) -> TokenStream {
    let (id, root, marker) = (&input.ident, &options.root, kind.marker());
    let name = options.name.as_ref().map_or_else(|| quote!(""), |name| quote!(#name));
    let reply = options.reply.as_ref().map_or_else(|| quote!(()), |reply| quote!(#reply));
    let error = options.error.as_ref().map_or_else(|| quote!(#root::Never), |error| quote!(#error));
    let idempotent = options.idempotent.then(|| {
        quote!(
            const IDEMPOTENT: bool = true;
        )
    });
    let (key, validate) = (key(options), validate(options));
    let slot = match kind {
        Kind::Command | Kind::Query => quote!(#root::__private::Sole),
        Kind::Event => quote!(#root::__private::Nth<METHOD>),
    };
    let at_id = root.at(id.span());
    let here = quote_spanned!(id.span()=> #at_id::__private::Location::caller());
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #root::Message for #id {
                const NAME: &'static str = #name;
                #idempotent
                type Kind = #root::kind::#marker;
                type Reply = #reply;
                type Error = #error;
                #key
                #validate
            }
            #[automatically_derived]
            impl<__Owner: ?::core::marker::Sized> #root::__private::SlotOf<__Owner> for #id {
                type Slot<const METHOD: usize> = #slot;
            }
            #root::__private::inventory::submit! { #root::__private::MessageEntry::of::<#id>(#here) }
        };
    }
}

fn key(options: &Options) -> Option<TokenStream> {
    let path = options.key.as_ref()?;
    let span = path.last().span();
    let root = options.root.at(span);
    // The call is located at the field, whose type may be no text.
    let text = quote_spanned!(span=> #root::__private::ToString::to_string(&self.#path));
    Some(quote! {
        fn key(&self) -> #root::__private::Option<#root::__private::Cow<'_, str>> {
            #root::__private::Option::Some(#root::__private::Cow::Owned(#text))
        }
    })
}

fn validate(options: &Options) -> Option<TokenStream> {
    let span = options.validate.as_ref()?.span();
    let root = options.root.at(span);
    let check = match options.validate.as_ref()? {
        Validate::Garde(_) => quote_spanned!(span=> #root::__private::garde_validate(self)),
        Validate::Function(path) => quote_spanned!(span=> #path(self)),
    };
    Some(quote! {
        fn validate(&self) -> #root::__private::Result<(), #root::Invalid> {
            #check
        }
    })
}
