use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{Attribute, Data, DeriveInput, Field, Fields, Index, Member, ext::IdentExt, spanned::Spanned};

use crate::{
    attribute::{Known, Reader},
    errors::Errors,
    root::Root,
};

pub(crate) fn expand(input: TokenStream) -> TokenStream {
    let input: DeriveInput = match syn::parse2(input) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    let mut errors = Errors::default();
    let root = root(&input.attrs, &mut errors);
    if !input.generics.params.is_empty() {
        let text = "a generic service cannot be discovered: build it and pass it to `App::service`";
        errors.on(&input.generics, text);
    }
    let fields = match &input.data {
        Data::Struct(data) => &data.fields,
        Data::Enum(_) | Data::Union(_) => {
            errors.on(&input.ident, "a service is a struct: its fields are cloned from the app's state");
            &Fields::Unit
        }
    };
    let parts: Vec<_> =
        fields.iter().enumerate().map(|(index, field)| Part::read(index, field, &mut errors)).collect();
    match errors.is_empty() {
        true => generate(&input.ident, &root, &parts),
        false => errors.into_tokens(),
    }
}

/// `#[service(crate = "..")]` above the struct.
fn root(attributes: &[Attribute], errors: &mut Errors) -> Root {
    let mut root = Root::default();
    let mut reader = Reader::new(errors, "`#[service(..)]` above a struct knows `crate = \"..\"`");
    for attribute in attributes.iter().filter(|a| a.path().is_ident("service")) {
        reader.attribute(attribute, &mut |option| match option.name == "crate" {
            true => Root::read(option).map(|read| {
                root = read;
                Known::Yes
            }),
            false if option.name == "default" => {
                Err(option.error("`default` goes on the field that is not in the app's state"))
            }
            false => Ok(Known::No),
        });
    }
    root
}

/// One field, and where its value comes from.
struct Part<'a> {
    field: &'a Field,
    member: Member,
    /// Holds the value before the struct is built.
    local: Ident,
    default: bool,
}

impl<'a> Part<'a> {
    fn read(index: usize, field: &'a Field, errors: &mut Errors) -> Self {
        let mut default = false;
        let mut reader = Reader::new(errors, "`#[service(..)]` on a field knows `default`");
        for attribute in field.attrs.iter().filter(|a| a.path().is_ident("service")) {
            reader.attribute(attribute, &mut |option| {
                if option.name != "default" {
                    return Ok(Known::No);
                }
                default = true;
                option.flag().map(|()| Known::Yes)
            });
        }
        let member = field.ident.clone().map_or_else(|| Member::Unnamed(Index::from(index)), Member::Named);
        Self { field, member, local: format_ident!("__field_{index}"), default }
    }

    /// What a missing value is reported for.
    fn title(&self) -> String {
        match &self.member {
            Member::Named(name) => format!("its field `{}`", name.unraw()),
            Member::Unnamed(index) => format!("its field {}", index.index),
        }
    }

    fn span(&self) -> Span {
        self.field.ident.as_ref().map_or_else(|| self.field.ty.span(), Ident::span)
    }

    fn value(&self, owner: &str, root: &Root) -> TokenStream {
        let (ty, local, title) = (&self.field.ty, &self.local, self.title());
        if self.default {
            let here = root.at(ty.span());
            return quote_spanned! {ty.span()=>
                let #local = #here::__private::Option::Some(<#ty as #here::__private::Default>::default());
            };
        }
        let (span, here) = (self.span(), root.at(self.span()));
        let at = quote_spanned!(span=> #here::__private::Location::caller());
        // All fields are looked up before one is used, so that everything that is missing is reported.
        quote! {
            let #local = __wiring.get::<#ty>(#root::Need { owner: #owner, part: #title, at: #at });
        }
    }
}

fn generate(id: &Ident, root: &Root, parts: &[Part<'_>]) -> TokenStream {
    let owner = id.unraw().to_string();
    let values = parts.iter().map(|part| part.value(&owner, root));
    let (members, locals): (Vec<_>, Vec<_>) = parts.iter().map(|part| (&part.member, &part.local)).unzip();
    let wiring = if parts.iter().all(|part| part.default) { quote!(_) } else { quote!(__wiring) };
    let at_id = root.at(id.span());
    let here = quote_spanned!(id.span()=> #at_id::__private::Location::caller());
    quote! {
        const _: () = {
            #[automatically_derived]
            impl #root::Service for #id {
                fn from_state(#wiring: &mut #root::Wiring<'_>) -> #root::__private::Option<Self> {
                    #(#values)*
                    #root::__private::Option::Some(Self { #(#members: #locals?),* })
                }
            }
            #root::__private::inventory::submit! {
                #root::__private::Entry::service::<#id>(#owner, #root::__private::module_path!(), #here)
            }
        };
    }
}
