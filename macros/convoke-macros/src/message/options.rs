use proc_macro2::{Span, TokenStream};
use quote::ToTokens;
use syn::{DeriveInput, LitStr, Member, Path, Token, Type, parse::ParseStream, spanned::Spanned};

use super::Kind;
use crate::{
    attribute::{Known, Opt, Reader, Taken},
    errors::Errors,
    root::Root,
    wire_name,
};

/// What `#[command(..)]`, `#[query(..)]` or `#[event(..)]` says.
#[derive(Default)]
pub(super) struct Options {
    pub(super) root: Root,
    pub(super) name: Option<LitStr>,
    pub(super) reply: Option<Type>,
    pub(super) error: Option<Type>,
    pub(super) idempotent: bool,
    pub(super) key: Option<FieldPath>,
    pub(super) validate: Option<Validate>,
}

/// How the content is checked.
pub(super) enum Validate {
    /// By `garde::Validate`, at the option's place.
    Garde(Span),
    /// By a function.
    Function(Path),
}

impl Validate {
    pub(super) fn span(&self) -> Span {
        match self {
            Self::Garde(span) => *span,
            Self::Function(path) => path.span(),
        }
    }
}

impl Options {
    /// Reads the attributes of the kind. `name` is the one option that must be there.
    pub(super) fn read(input: &DeriveInput, kind: Kind, errors: &mut Errors) -> Self {
        let mut options = Self::default();
        let (known, attribute) = (known(kind), kind.attribute());
        let mut found = false;
        let mut named = false;
        let mut reader = Reader::new(errors, &known);
        for attribute in input.attrs.iter().filter(|a| a.path().is_ident(attribute)) {
            found = true;
            reader.attribute(attribute, &mut |option| {
                named |= option.name == "name";
                options.take(option, kind)
            });
        }
        // A name that is written but wrong is reported already.
        if !named {
            let (start, example) = ("a message needs a stable wire name:", kind.example());
            let text = match found {
                false => format!("{start} `#[{attribute}(name = \"{example}\")]`"),
                true => format!("{start} add `name = \"{example}\"` to `#[{attribute}(..)]`"),
            };
            errors.on(&input.ident, text);
        }
        options
    }

    fn take(&mut self, option: &Opt<'_>, kind: Kind) -> Taken {
        match option.name.to_string().as_str() {
            "name" => {
                let name = option.string(&format!("name = \"{}\"", kind.example()))?;
                let checked = wire_name::check(&name.value(), kind.example());
                let span = name.span();
                self.name = Some(name);
                checked.map_err(|text| syn::Error::new(span, text))?;
            }
            "reply" | "error" if kind == Kind::Event => {
                return Err(option.error("an event is not answered: it has no `reply` and no `error`"));
            }
            "reply" => self.reply = Some(option.value("a type", "reply = OrderId", |input| input.parse())?),
            "error" => {
                self.error = Some(option.value("a type", "error = PlaceOrderError", |input| input.parse())?)
            }
            "idempotent" => match kind {
                Kind::Command => {
                    option.flag()?;
                    self.idempotent = true;
                }
                Kind::Query => {
                    return Err(option
                        .error("remove `idempotent`: a query changes nothing, so it may always run again"));
                }
                Kind::Event => {
                    return Err(option.error(
                        "remove `idempotent`: each handler of an event marks the event's id as done",
                    ));
                }
            },
            "key" => {
                self.key =
                    Some(option.value("a field, or a path to one", "key = order.id", FieldPath::parse)?)
            }
            "validate" if option.has_value() => {
                let path = option.value("a function", "validate = check", Path::parse_mod_style)?;
                self.validate = Some(Validate::Function(path));
            }
            "validate" => self.validate = Some(Validate::Garde(option.name.span())),
            "crate" => self.root = Root::read(option)?,
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }
}

fn known(kind: Kind) -> String {
    let attribute = kind.attribute();
    let between = match kind {
        Kind::Command => "`reply = Type`, `error = Type`, `idempotent`, ",
        Kind::Query => "`reply = Type`, `error = Type`, ",
        Kind::Event => "",
    };
    format!(
        "`#[{attribute}(..)]` knows `name = \"..\"`, {between}`key = field`, `validate`, \
        `validate = function` and `crate = \"..\"`"
    )
}

/// `id`, `order.id` or `0`.
pub(super) struct FieldPath {
    first: Member,
    rest: Vec<(Token![.], Member)>,
}

impl FieldPath {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let first = input.parse()?;
        let mut rest = Vec::new();
        while input.peek(Token![.]) {
            rest.push((input.parse()?, input.parse()?));
        }
        Ok(Self { first, rest })
    }

    /// The field that is the key.
    pub(super) fn last(&self) -> &Member {
        self.rest.last().map_or(&self.first, |(_, last)| last)
    }
}

impl ToTokens for FieldPath {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.first.to_tokens(tokens);
        for (dot, member) in &self.rest {
            dot.to_tokens(tokens);
            member.to_tokens(tokens);
        }
    }
}
