use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::{FnArg, ItemFn, Type, ext::IdentExt, spanned::Spanned};

use crate::{
    attribute::cfgs,
    errors::Errors,
    root::Root,
    shape::{Arg, Shape, marked_once},
};

mod options;

pub(crate) use options::Options;

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let function = errors.take(syn::parse2::<ItemFn>(item.clone()).map_err(|_| {
        let text = "`#[handler]` goes on an `async fn`, or on a method of a `#[handlers] impl` block";
        syn::Error::new(Span::call_site(), text)
    }));
    let generated = function.as_ref().and_then(|function| generate(args, function, &mut errors));
    let errors = errors.into_tokens();
    // The function stays as it was written, so that nothing else breaks beside a mistake.
    quote!(#item #errors #generated)
}

fn generate(args: TokenStream, function: &ItemFn, errors: &mut Errors) -> Option<TokenStream> {
    if let Some(FnArg::Receiver(_)) = function.sig.inputs.first() {
        // `#[handlers]` would have taken this attribute away before it ran.
        errors.at(Span::call_site(), "`#[handler]` on a method needs `#[handlers]` above its `impl` block");
        return None;
    }
    marked_once(function.attrs.iter(), errors);
    let options = Options::of_tokens(args, errors);
    let shape = Shape::of_function(&function.sig, errors)?;
    errors.is_empty().then(|| Function { function, root: &options.root, options: &options, shape }.expand())
}

/// A function that is a handler.
struct Function<'a> {
    function: &'a ItemFn,
    root: &'a Root,
    options: &'a Options,
    shape: Shape<'a>,
}

impl Function<'_> {
    /// The function's name, for people.
    fn text(&self) -> String {
        self.shape.name.unraw().to_string()
    }

    /// What is looked up in the state, with the field that holds it.
    fn extractors(&self) -> impl Iterator<Item = (usize, Ident, &Type)> {
        self.shape.rest.iter().enumerate().filter_map(|(index, arg)| match arg {
            Arg::Extractor(ty) => Some((index, field(index, ty), *ty)),
            Arg::Context(_) => None,
        })
    }

    /// The type that stands for the function. What is wrong with an extractor is reported at the first of them.
    fn this(&self) -> Ident {
        let first = self.extractors().next().map(|(_, _, ty)| ty.span());
        Ident::new("__Function", first.unwrap_or_else(|| self.shape.message.span()))
    }

    fn expand(&self) -> TokenStream {
        let (root, name, text) = (self.root, self.shape.name, self.text());
        let cfgs = cfgs(&self.function.attrs);
        let (implementation, wire) = (self.implementation(), self.wire());
        let options = self.options.value(root);
        // Its caller, which is where the function stands.
        let at_name = root.at(name.span());
        let spec = quote_spanned!(name.span()=> #at_name::HandlerSpec::new("", #text, #options));
        // Named, for an `impl` block does not take `const _`: a handler in a plain one fails at its name only.
        let anchor = Ident::new(&format!("__CONVOKE_{}", text.to_ascii_uppercase()), name.span());
        quote! {
            #(#cfgs)*
            const #anchor: () = {
                #implementation
                const __SPEC: #root::HandlerSpec = #spec;
                #wire
                #root::__private::inventory::submit! {
                    #root::__private::Entry::function(
                        __SPEC,
                        #root::__private::module_path!(),
                        || #root::__private::Entry::type_of(#name),
                        __wire,
                    )
                }
            };
        }
    }

    fn implementation(&self) -> TokenStream {
        let Shape { name, message, rest, output } = &self.shape;
        let (at_name, at_message, at_output) =
            (self.root.at(name.span()), self.root.at(message.span()), self.root.at(*output));
        let fields = self.extractors().map(|(_, field, ty)| {
            let root = self.root.at(ty.span());
            quote_spanned!(ty.span()=> #field: <#ty as #root::Extract>::Prepared)
        });
        let extract = self.extractors().map(|(_, field, ty)| {
            let root = self.root.at(ty.span());
            quote_spanned! {ty.span()=>
                let #field = <#ty as #root::Extract>::extract(&self.#field, __cx).await?;
            }
        });
        let arguments = rest.iter().enumerate().map(|(index, arg)| match arg {
            Arg::Context(ty) => quote_spanned!(ty.span()=> __cx),
            Arg::Extractor(ty) => {
                let field = field(index, ty);
                quote!(#field)
            }
        });
        // In steps, so that a mismatch is reported at the return type, and an unknown name once, at the name.
        let result = quote_spanned!(*output=> __result);
        let invoke = quote_spanned! {name.span()=>
            let __handler = #name;
            let #result = __handler(__message #(, #arguments)*).await;
            #result
        };
        let outcome = quote_spanned!(*output=> #at_output::Outcome<#message>);
        let cx = if rest.is_empty() { quote!(_) } else { quote!(__cx) };
        let handle = quote_spanned! {name.span()=>
            async fn handle(&self, __message: #message, #cx: &#at_name::Context) -> #outcome {
                #(#extract)*
                #invoke
            }
        };
        let this = self.this();
        quote_spanned! {message.span()=>
            struct #this { #(#fields),* }
            #[automatically_derived]
            impl #at_message::Handler<#message> for #this {
                #handle
            }
        }
    }

    /// Looks up what the function needs, all of it before any is used: everything that is missing is reported.
    fn wire(&self) -> TokenStream {
        let (root, message, text) = (self.root, self.shape.message, self.text());
        let checks = self.options.checks(message, root, true);
        let prepare = self.extractors().map(|(index, field, ty)| {
            let part = format!("argument {}", index + 2);
            let root = self.root.at(ty.span());
            quote_spanned! {ty.span()=>
                let #field = <#ty as #root::Extract>::prepare(
                    __wiring,
                    #root::Need { owner: #text, part: #part, at: #root::__private::Location::caller() },
                );
            }
        });
        let values = self.extractors().map(|(_, field, ty)| {
            let root = self.root.at(ty.span());
            quote_spanned!(ty.span()=> let #root::__private::Option::Some(#field) = #field else { return };)
        });
        let fields = self.extractors().map(|(_, field, _)| field);
        let wiring = if self.extractors().next().is_none() { quote!(_) } else { quote!(__wiring) };
        let (this, at_message) = (self.this(), root.at(message.span()));
        let add = quote_spanned!(message.span()=> #at_message::__private::Entry::add::<#message, #this>);
        quote! {
            fn __wire(#wiring: &mut #root::Wiring<'_>, __registry: &mut #root::Registry) {
                #checks
                #(#prepare)*
                #(#values)*
                #add(#this { #(#fields),* }, __SPEC, __registry);
            }
        }
    }
}

/// The field, and then the variable, of an argument after the message.
fn field(index: usize, ty: &Type) -> Ident {
    format_ident!("__arg_{index}", span = ty.span())
}
