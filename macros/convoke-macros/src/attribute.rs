use std::collections::HashSet;

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{
    Attribute, Error, LitStr, Meta, Token,
    ext::IdentExt,
    parse::{ParseStream, Parser},
};

use crate::errors::Errors;

/// The options of one item, read from one or several attributes.
///
/// Reading goes on after a mistake, so that all of them are reported together.
pub(crate) struct Reader<'a> {
    errors: &'a mut Errors,
    /// What the attribute knows, for an option that is none.
    known: &'a str,
    given: HashSet<String>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(errors: &'a mut Errors, known: &'a str) -> Self {
        Self { errors, known, given: HashSet::new() }
    }

    /// Reads `#[name(..)]`; `#[name]` has no options.
    pub(crate) fn attribute(&mut self, attribute: &Attribute, each: &mut dyn FnMut(&Opt<'_>) -> Taken) {
        match &attribute.meta {
            Meta::Path(_) => {}
            Meta::List(list) => self.tokens(list.tokens.clone(), each),
            Meta::NameValue(meta) => {
                self.errors.on(meta, format!("options stand in parentheses: {}", self.known));
            }
        }
    }

    /// Reads what stands between the parentheses.
    pub(crate) fn tokens(&mut self, tokens: TokenStream, each: &mut dyn FnMut(&Opt<'_>) -> Taken) {
        let read = |input: ParseStream<'_>| {
            while !input.is_empty() {
                if let Err(error) = self.one(input, each) {
                    self.errors.push(error);
                    skip(input);
                }
                if !input.is_empty() {
                    input
                        .parse::<Token![,]>()
                        .expect("an option ends before a comma, or is skipped up to it");
                }
            }
            Ok(())
        };
        let rest = read.parse2(tokens);
        self.errors.take(rest);
    }

    fn one(&mut self, input: ParseStream<'_>, each: &mut dyn FnMut(&Opt<'_>) -> Taken) -> syn::Result<()> {
        let name = input
            .call(Ident::parse_any)
            .map_err(|error| Error::new(error.span(), format!("not an option: {}", self.known)))?;
        let text = name.to_string();
        let option = Opt { name, input };
        match each(&option)? {
            Known::No => return Err(option.error(format!("unknown option `{text}`: {}", self.known))),
            Known::Yes if !self.given.insert(text.clone()) => {
                return Err(option.error(format!("`{text}` is given twice")));
            }
            Known::Yes => {}
        }
        if !input.is_empty() && !input.peek(Token![,]) {
            return Err(input.error(format!("expected `,` after `{text}`")));
        }
        Ok(())
    }
}

/// What became of an option.
pub(crate) type Taken = syn::Result<Known>;

/// Whether an option is one of the attribute's.
pub(crate) enum Known {
    Yes,
    No,
}

/// One `name` or `name = value`.
pub(crate) struct Opt<'a> {
    pub(crate) name: Ident,
    input: ParseStream<'a>,
}

impl Opt<'_> {
    /// A mistake at the name.
    pub(crate) fn error(&self, text: impl std::fmt::Display) -> Error {
        Error::new(self.name.span(), text)
    }

    pub(crate) fn has_value(&self) -> bool {
        self.input.peek(Token![=])
    }

    /// An option without a value.
    pub(crate) fn flag(&self) -> syn::Result<()> {
        match self.has_value() {
            true => Err(self.error(format!("`{}` takes no value", self.name))),
            false => Ok(()),
        }
    }

    /// An option with a value, of which `example` shows one.
    pub(crate) fn value<T>(
        &self,
        what: &str,
        example: &str,
        parse: impl FnOnce(ParseStream<'_>) -> syn::Result<T>,
    ) -> syn::Result<T> {
        let name = &self.name;
        if !self.has_value() {
            return Err(self.error(format!("`{name}` needs a value: `{example}`")));
        }
        let equals = self.input.parse::<Token![=]>()?;
        if self.input.is_empty() {
            // There is no token to underline.
            return Err(Error::new_spanned(equals, format!("`{name}` needs a value: `{example}`")));
        }
        parse(self.input)
            .map_err(|error| Error::new(error.span(), format!("`{name}` is {what}: `{example}`")))
    }

    /// An option whose value is a string.
    pub(crate) fn string(&self, example: &str) -> syn::Result<LitStr> {
        self.value("a string", example, |input| input.parse())
    }
}

/// Up to the next comma that separates options: one between `<` and `>` belongs to a type.
fn skip(input: ParseStream<'_>) {
    let mut depth = 0_usize;
    let mut before = ' ';
    while !(input.is_empty() || depth == 0 && input.peek(Token![,])) {
        let tree = input.parse::<TokenTree>().expect("there is a token, for the input is not empty");
        let TokenTree::Punct(punct) = tree else { continue };
        match punct.as_char() {
            '<' => depth += 1,
            '>' if before != '-' => depth = depth.saturating_sub(1),
            _ => {}
        }
        before = punct.as_char();
    }
}

/// Whether this is `#[handler]`, by whatever path it was written.
pub(crate) fn is_handler(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "handler")
}

/// `#[cfg(..)]` of a handler, which applies to what is generated for it as well.
pub(crate) fn cfgs(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
}
