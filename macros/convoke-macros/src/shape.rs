use proc_macro2::Span;
use quote::ToTokens;
use syn::{Attribute, FnArg, Ident, ReturnType, Signature, Type, TypeReference, spanned::Spanned};

use crate::{attribute::is_handler, errors::Errors};

/// A handler's signature, checked.
pub(crate) struct Shape<'a> {
    pub(crate) name: &'a Ident,
    pub(crate) message: &'a Type,
    pub(crate) rest: Vec<Arg<'a>>,
    /// Where a mismatch of the outcome is reported.
    pub(crate) output: Span,
}

/// An argument after the message.
pub(crate) enum Arg<'a> {
    Context(&'a TypeReference),
    Extractor(&'a Type),
}

impl<'a> Shape<'a> {
    /// A method in a `#[handlers]` block.
    pub(crate) fn of_method(signature: &'a Signature, errors: &mut Errors) -> Option<Self> {
        let mut args = signature.inputs.iter();
        match signature.inputs.first() {
            Some(FnArg::Receiver(receiver)) => {
                args.next();
                match &*receiver.ty {
                    Type::Reference(reference) if reference.mutability.is_none() => {}
                    _ => errors.on(receiver, "a handler takes `&self`: it runs many times, and at once"),
                }
            }
            _ => errors.on(
                &signature.ident,
                "a handler in a `#[handlers]` block takes `&self` first: without it, make it a free function",
            ),
        }
        let shape = Self::of(signature, &mut args, errors)?;
        for arg in &shape.rest {
            if let Arg::Extractor(ty) = arg {
                errors.on(
                    ty,
                    "a handler method takes its message and `cx: &Context`: \
                        what else it needs is a field of the service",
                );
            }
        }
        Some(shape)
    }

    /// A free function.
    pub(crate) fn of_function(signature: &'a Signature, errors: &mut Errors) -> Option<Self> {
        Self::of(signature, &mut signature.inputs.iter(), errors)
    }

    /// What holds for methods and functions alike.
    fn of(
        signature: &'a Signature,
        args: &mut dyn Iterator<Item = &'a FnArg>,
        errors: &mut Errors,
    ) -> Option<Self> {
        qualifiers(signature, errors);
        let output = output(signature, errors);
        let message = match args.next() {
            Some(FnArg::Typed(arg)) => message(&arg.ty, errors)?,
            _ => {
                errors
                    .on(&signature.ident, "a handler takes its message, then `cx: &Context` if it needs it");
                return None;
            }
        };
        let rest = args.filter_map(|arg| match arg {
            FnArg::Typed(arg) => rest(&arg.ty, errors),
            FnArg::Receiver(_) => None,
        });
        let rest = rest.collect();
        Some(Self { name: &signature.ident, message, rest, output })
    }
}

/// `#[handler]` is written once.
pub(crate) fn marked_once<'a>(others: impl Iterator<Item = &'a Attribute>, errors: &mut Errors) {
    for attribute in others.filter(|attribute| is_handler(attribute)) {
        errors.on(attribute, "`#[handler]` is given twice: one of them carries all the options");
    }
}

fn qualifiers(signature: &Signature, errors: &mut Errors) {
    if signature.asyncness.is_none() {
        errors.on(signature.fn_token, "a handler is an `async fn`");
    }
    if let Some(token) = &signature.unsafety {
        errors.on(token, "a handler is called by the framework, which knows no conditions: remove `unsafe`");
    }
    if !signature.generics.params.is_empty() {
        errors.on(&signature.generics, "a handler has no generics: it handles one message type");
    }
}

fn output(signature: &Signature, errors: &mut Errors) -> Span {
    if let ReturnType::Type(_, ty) = &signature.output {
        return ty.span();
    }
    let text = "a handler returns `Outcome<M>` for its message `M`, or `Handled` when that is an event";
    errors.on(&signature.ident, text);
    signature.ident.span()
}

/// The first argument, when it can be a message.
fn message<'a>(ty: &'a Type, errors: &mut Errors) -> Option<&'a Type> {
    match ty {
        Type::Reference(reference) if is_context(&reference.elem) => {
            errors.on(reference, "the message comes first, then the context");
        }
        Type::Reference(reference) => {
            let owned = title(&reference.elem);
            errors.on(reference, format!("a handler owns its message: take `{owned}`"));
        }
        Type::ImplTrait(generic) => {
            errors.on(generic, "a handler has no generics: it handles one message type")
        }
        ty => return Some(ty),
    }
    None
}

/// An argument after the message.
fn rest<'a>(ty: &'a Type, errors: &mut Errors) -> Option<Arg<'a>> {
    match ty {
        Type::Reference(reference) if reference.mutability.is_some() => {
            errors.on(reference, "the context is shared: take `&Context`");
        }
        Type::Reference(reference) => return Some(Arg::Context(reference)),
        Type::ImplTrait(generic) => {
            errors.on(generic, "a handler has no generics: name the type of the argument")
        }
        ty if is_context(ty) => errors.on(ty, "the context is borrowed: take `&Context`"),
        ty => return Some(Arg::Extractor(ty)),
    }
    None
}

/// Judged by its name, which is all a macro sees.
fn is_context(ty: &Type) -> bool {
    matches!(ty, Type::Path(path) if path.path.segments.last().is_some_and(|last| last.ident == "Context"))
}

/// `Orders` for `my::Orders<S>`, for texts.
pub(crate) fn title(ty: &Type) -> String {
    match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        ty => ty.to_token_stream().to_string(),
    }
}
