use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, ImplItem, ImplItemFn, ItemImpl, ext::IdentExt, spanned::Spanned};

use crate::{
    attribute::{Known, Reader, cfgs, is_handler},
    errors::Errors,
    handler::Options,
    root::Root,
    shape::{Shape, marked_once, title},
};

pub(crate) fn expand(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut block: ItemImpl = match syn::parse2(item.clone()) {
        Ok(block) => block,
        Err(_) => {
            let text = "`#[handlers]` goes on an `impl` block; a function takes `#[handler]`";
            let error = syn::Error::new(Span::call_site(), text).into_compile_error();
            // What is wrong inside the item is the compiler's to say.
            return quote!(#error #item);
        }
    };
    let mut errors = Errors::default();
    let root = root(args, &mut errors);
    let marked = take_markers(&mut block);
    let generated = match &block.trait_ {
        Some((_, of, _)) => {
            errors.on(of, "`#[handlers]` goes on `impl Type { .. }`, not on the implementation of a trait");
            None
        }
        None => Some(generate(&block, &root, &marked, &mut errors)),
    };
    let errors = errors.into_tokens();
    quote!(#block #errors #generated)
}

fn root(args: TokenStream, errors: &mut Errors) -> Root {
    let mut root = Root::default();
    let known = "`#[handlers]` knows `crate = \"..\"`; what concerns one handler goes on its `#[handler]`";
    Reader::new(errors, known).tokens(args, &mut |option| match option.name == "crate" {
        true => Root::read(option).map(|read| {
            root = read;
            Known::Yes
        }),
        false => Ok(Known::No),
    });
    root
}

/// Takes `#[handler]` off the methods, so that it does not run by itself: which item, and its markers.
fn take_markers(block: &mut ItemImpl) -> Vec<(usize, Vec<Attribute>)> {
    let methods = block.items.iter_mut().enumerate().filter_map(|(index, item)| match item {
        ImplItem::Fn(method) => Some((index, method)),
        _ => None,
    });
    let marked = methods.filter_map(|(index, method)| {
        let markers: Vec<_> = method.attrs.extract_if(.., |attribute| is_handler(attribute)).collect();
        (!markers.is_empty()).then_some((index, markers))
    });
    marked.collect()
}

fn generate(
    block: &ItemImpl,
    root: &Root,
    marked: &[(usize, Vec<Attribute>)],
    errors: &mut Errors,
) -> TokenStream {
    let this = &block.self_ty;
    if marked.is_empty() {
        errors.on(this, "no `#[handler]` in this block: put it on each method that takes a message");
    }
    let (mut impls, mut entries) = (Vec::new(), Vec::new());
    for (slot, (index, markers)) in marked.iter().enumerate() {
        let ImplItem::Fn(method) = &block.items[*index] else { continue };
        let Some(method) = Method::read(block, root, method, markers, slot, errors) else { continue };
        impls.push(method.implementation());
        entries.push(method.entry());
    }
    let (generics, _, bounds) = block.generics.split_for_impl();
    let registry = if entries.is_empty() { quote!(_) } else { quote!(__registry) };
    let at_this = root.at(this.span());
    let register = quote! {
        fn register(self: #root::__private::Arc<Self>, #registry: &mut #root::Registry) {
            #(#entries)*
        }
    };
    // A second block for one type is reported at the type.
    let handlers = quote_spanned! {this.span()=>
        #[automatically_derived]
        impl #generics #at_this::Handlers for #this #bounds { #register }
    };
    quote! {
        const _: () = {
            #(#impls)*
            #handlers
        };
    }
}

/// One method that is a handler.
struct Method<'a> {
    block: &'a ItemImpl,
    root: &'a Root,
    attrs: &'a [Attribute],
    shape: Shape<'a>,
    options: Options,
    slot: usize,
}

impl<'a> Method<'a> {
    fn read(
        block: &'a ItemImpl,
        root: &'a Root,
        method: &'a ImplItemFn,
        markers: &[Attribute],
        slot: usize,
        errors: &mut Errors,
    ) -> Option<Self> {
        marked_once(markers.iter().skip(1), errors);
        let options = Options::of_attribute(markers.first()?, errors);
        if let Some(span) = options.root_at() {
            errors.at(span, "`crate` goes on the block: `#[handlers(crate = \"..\")]`");
        }
        let mut mistakes = Errors::default();
        let shape = Shape::of_method(&method.sig, &mut mistakes);
        // Nothing is generated for a wrong shape: the compiler would explain the same mistake in its own words.
        let shape = shape.filter(|_| mistakes.is_empty());
        errors.join(mistakes);
        Some(Self { block, root, attrs: &method.attrs, shape: shape?, options, slot })
    }

    /// The slot, located at the message: a second method for a request is reported there.
    fn slot(&self) -> TokenStream {
        let (message, slot, at) = (self.shape.message, self.slot, self.shape.message.span());
        let root = self.root.at(at);
        quote_spanned!(at=> #root::__private::Slot<#message, Self, #slot>)
    }

    fn implementation(&self) -> TokenStream {
        let Shape { name, message, rest, output } = &self.shape;
        let (generics, _, bounds) = self.block.generics.split_for_impl();
        let (this, slot, cfgs) = (&self.block.self_ty, self.slot(), cfgs(self.attrs));
        let (at_name, at_message, at_output) =
            (self.root.at(name.span()), self.root.at(message.span()), self.root.at(*output));
        let arguments = rest.iter().map(|_| quote_spanned!(*output=> , __cx));
        let call = quote_spanned!(*output=> self.#name(__message #(#arguments)*));
        let cx = if rest.is_empty() { quote!(_) } else { quote!(__cx) };
        let outcome = quote_spanned!(*output=> #at_output::Outcome<#message>);
        // A future that is not `Send` is reported at the name, a wrong outcome at the outcome.
        let handle = quote_spanned! {name.span()=>
            fn handle(&self, __message: #message, #cx: &#at_name::Context)
                -> impl #at_name::__private::Future<Output = #outcome> + ::core::marker::Send
            { #call }
        };
        quote_spanned! {message.span()=>
            #(#cfgs)*
            #[automatically_derived]
            impl #generics #at_message::Handler<#message, #slot> for #this #bounds {
                #handle
            }
        }
    }

    fn entry(&self) -> TokenStream {
        let Shape { name, message, .. } = &self.shape;
        let (slot, cfgs, root) = (self.slot(), cfgs(self.attrs), self.root);
        let options = self.options.value(root);
        let checks = self.options.checks(message, root, self.block.generics.params.is_empty());
        let (service, text) = (title(&self.block.self_ty), name.unraw().to_string());
        // Its caller, which is where the handler stands.
        let at_name = root.at(name.span());
        let spec = quote_spanned!(name.span()=> #at_name::HandlerSpec::new(#service, #text, #options));
        let at_message = root.at(message.span());
        quote_spanned! {message.span()=>
            #(#cfgs)*
            {
                #checks
                __registry.add::<#message, #slot, Self>(#at_message::__private::Clone::clone(&self), #spec);
            }
        }
    }
}
