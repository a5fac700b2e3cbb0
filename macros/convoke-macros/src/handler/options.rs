use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Error, LitInt, LitStr, Type};

use crate::{
    attribute::{Known, Opt, Reader, Taken},
    errors::Errors,
    root::{Root, respan},
    wire_name,
};

/// What one `#[handler(..)]` says.
#[derive(Default)]
pub(crate) struct Options {
    pub(crate) root: Root,
    root_at: Option<Span>,
    group: Option<(Span, LitStr)>,
    view: Option<Span>,
    leader: Option<(Span, Ident)>,
    timeout_ms: Option<u64>,
    concurrency: Option<u32>,
    on_store_error: Option<(Span, Ident)>,
    attempts: Option<u32>,
    backoff_ms: Option<u64>,
    on_dead: Option<(Span, Ident)>,
}

const KNOWN: &str = "`#[handler]` knows `group = \"..\"`, `view`, `leader`, `leader = \"reject\"`, \
    `timeout = \"2s\"`, `concurrency = 8`, `on_store_error = \"proceed\"`, \
    `attempts = 3`, `backoff = \"1s\"`, `on_dead = \"park\"` and `crate = \"..\"`";

impl Options {
    pub(crate) fn of_attribute(attribute: &Attribute, errors: &mut Errors) -> Self {
        Self::read(errors, |reader, each| reader.attribute(attribute, each))
    }

    pub(crate) fn of_tokens(tokens: TokenStream, errors: &mut Errors) -> Self {
        Self::read(errors, |reader, each| reader.tokens(tokens, each))
    }

    fn read(
        errors: &mut Errors,
        read: impl FnOnce(&mut Reader<'_>, &mut dyn FnMut(&Opt<'_>) -> Taken),
    ) -> Self {
        let mut options = Self::default();
        read(&mut Reader::new(errors, KNOWN), &mut |option| options.take(option));
        if let (Some((group, _)), Some(view)) = (&options.group, options.view) {
            let text = "`group` and `view` exclude each other: one node of a group gets the event, \
                and a view is fed on every node";
            errors.at(*group, text);
            errors.at(view, text);
        }
        if let (Some((on_dead, _)), Some(view)) = (&options.on_dead, options.view) {
            let text = "`on_dead` and `view` exclude each other: what a view cannot handle is dropped, \
                because it comes again at the next start";
            errors.at(*on_dead, text);
            errors.at(view, text);
        }
        options
    }

    fn take(&mut self, option: &Opt<'_>) -> Taken {
        let span = option.name.span();
        match option.name.to_string().as_str() {
            "group" => {
                let group = option.string("group = \"billing\"")?;
                wire_name::check_group(&group.value()).map_err(|text| Error::new(group.span(), text))?;
                self.group = Some((span, group));
            }
            "view" => {
                option.flag()?;
                self.view = Some(span);
            }
            "leader" if option.has_value() => {
                let leader = choice(option, [("forward", "Forward"), ("reject", "Reject")])?;
                self.leader = Some((span, leader));
            }
            "leader" => self.leader = Some((span, Ident::new("Forward", span))),
            "timeout" => self.timeout_ms = Some(duration_ms(option, "2s")?),
            "concurrency" => self.concurrency = Some(count(option, 8)?),
            "attempts" => self.attempts = Some(count(option, 3)?),
            "backoff" => self.backoff_ms = Some(duration_ms(option, "1s")?),
            "on_dead" => {
                let on = choice(option, [("go-on", "GoOn"), ("park", "Park")])?;
                self.on_dead = Some((span, on));
            }
            "on_store_error" => {
                let on = choice(option, [("refuse", "Refuse"), ("proceed", "Proceed")])?;
                self.on_store_error = Some((span, on));
            }
            "crate" => {
                self.root_at = Some(span);
                self.root = Root::read(option)?;
            }
            "idempotent" => {
                return Err(option.error(
                    "`idempotent` belongs to the command, whose sender must know it: \
                        `#[command(.., idempotent)]`",
                ));
            }
            _ => return Ok(Known::No),
        }
        Ok(Known::Yes)
    }

    /// Where `crate` was given.
    pub(crate) fn root_at(&self) -> Option<Span> {
        self.root_at
    }

    /// The value of `convoke::Options`.
    pub(crate) fn value(&self, root: &Root) -> TokenStream {
        let some = quote!(#root::__private::Option::Some);
        let group = self.group.iter().map(|(_, name)| quote!(group: #some(#name)));
        let view = self.view.iter().map(|_| quote!(view: true));
        let leader = self.leader.iter().map(|(_, leader)| quote!(leader: #some(#root::Leader::#leader)));
        let timeout = self
            .timeout_ms
            .iter()
            .map(|ms| quote!(timeout: #some(#root::__private::Duration::from_millis(#ms))));
        let concurrency = self.concurrency.iter().map(|count| {
            let count = proc_macro2::Literal::usize_suffixed(usize::try_from(*count).unwrap_or(usize::MAX));
            quote!(concurrency: #some(#count))
        });
        let attempts = self.attempts.iter().map(|count| quote!(attempts: #some(#count)));
        let backoff = self
            .backoff_ms
            .iter()
            .map(|ms| quote!(backoff: #some(#root::__private::Duration::from_millis(#ms))));
        let on_dead = self.on_dead.iter().map(|(_, on)| quote!(on_dead: #root::OnDead::#on));
        let on_store_error =
            self.on_store_error.iter().map(|(_, on)| quote!(on_store_error: #root::OnStoreError::#on));
        let limits = timeout.chain(concurrency).chain(attempts).chain(backoff);
        let given: Vec<_> =
            group.chain(view).chain(leader).chain(limits).chain(on_store_error).chain(on_dead).collect();
        match given.is_empty() {
            true => quote!(#root::Options::DEFAULT),
            false => quote!(#root::Options { #(#given,)* ..#root::Options::DEFAULT }),
        }
    }

    /// Statements that compile only when the message takes the options; they fail at the option.
    ///
    /// `concrete` is whether the message can be named outside of the block, where generics are not in scope.
    pub(crate) fn checks(&self, message: &Type, root: &Root, concrete: bool) -> TokenStream {
        let check = |span: Span, function: &str| {
            let (root, message, function) =
                (root.at(span), respan(message, span), Ident::new(function, span));
            quote_spanned!(span=> #root::__private::accepts::#function::<#message>();)
        };
        let group = self.group.iter().map(|(span, _)| check(*span, "group"));
        let view = self.view.iter().map(|span| check(*span, "view"));
        let leader = self.leader.iter().map(|(span, _)| check(*span, "leader"));
        let store = self.on_store_error.iter().filter(|_| concrete).map(|(span, _)| {
            let (root, message) = (root.at(*span), respan(message, *span));
            quote_spanned! {*span=>
                const _: () = ::core::assert!(
                    <#message as #root::Message>::IDEMPOTENT,
                    "`on_store_error` is for idempotent commands: no other message is claimed before it is handled",
                );
            }
        });
        group.chain(view).chain(leader).chain(store).collect()
    }
}

/// One of two words, as the variant it stands for.
fn choice(option: &Opt<'_>, words: [(&str, &str); 2]) -> syn::Result<Ident> {
    let [(first, _), (second, _)] = words;
    let name = &option.name;
    let value = option.string(&format!("{name} = \"{second}\""))?;
    match words.iter().find(|(word, _)| *word == value.value()) {
        Some((_, variant)) => Ok(Ident::new(variant, value.span())),
        None => Err(Error::new(
            value.span(),
            format!("`{name}` is `\"{first}\"` (the default) or `\"{second}\"`"),
        )),
    }
}

/// A number from 1 on. 32 bits, so that one which compiles here compiles for every target.
fn count(option: &Opt<'_>, example: u32) -> syn::Result<u32> {
    let name = &option.name;
    let example = format!("{name} = {example}");
    let number = option.value("a whole number", &example, |input| input.parse::<LitInt>())?;
    let count = number.base10_parse::<u32>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| Error::new(number.span(), format!("`{name}` is a whole number from 1 to 4294967295")))
}

fn duration_ms(option: &Opt<'_>, example: &str) -> syn::Result<u64> {
    let name = &option.name;
    let value = option.string(&format!("{name} = \"{example}\""))?;
    let text = format!("a {name} is a number above 0 with its unit: `500ms`, `2s` or `1m`");
    milliseconds(&value.value()).ok_or_else(|| Error::new(value.span(), text))
}

fn milliseconds(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(options: TokenStream, expected: TokenStream) {
        let mut errors = Errors::default();
        let options = Options::of_tokens(options, &mut errors);
        assert!(errors.is_empty(), "{}", errors.into_tokens());
        assert_eq!(options.value(&Root::default()).to_string(), expected.to_string());
    }

    #[test]
    fn what_is_not_given_keeps_its_default() {
        check(quote!(), quote!(::convoke::Options::DEFAULT));
        check(quote!(view,), quote!(::convoke::Options { view: true, ..::convoke::Options::DEFAULT }));
    }

    #[test]
    fn each_option_becomes_its_field() {
        let some = quote!(::convoke::__private::Option::Some);
        let milliseconds = quote!(::convoke::__private::Duration::from_millis);
        for (option, field) in [
            (quote!(group = "billing"), quote!(group: #some("billing"))),
            (quote!(leader), quote!(leader: #some(::convoke::Leader::Forward))),
            (quote!(leader = "forward"), quote!(leader: #some(::convoke::Leader::Forward))),
            (quote!(leader = "reject"), quote!(leader: #some(::convoke::Leader::Reject))),
            (quote!(timeout = "1m"), quote!(timeout: #some(#milliseconds(60000u64)))),
            (quote!(concurrency = 8), quote!(concurrency: #some(8usize))),
            (quote!(attempts = 3), quote!(attempts: #some(3u32))),
            (quote!(backoff = "1s"), quote!(backoff: #some(#milliseconds(1000u64)))),
            (quote!(on_dead = "go-on"), quote!(on_dead: ::convoke::OnDead::GoOn)),
            (quote!(on_dead = "park"), quote!(on_dead: ::convoke::OnDead::Park)),
            (quote!(on_store_error = "refuse"), quote!(on_store_error: ::convoke::OnStoreError::Refuse)),
            (quote!(on_store_error = "proceed"), quote!(on_store_error: ::convoke::OnStoreError::Proceed)),
        ] {
            check(option, quote!(::convoke::Options { #field, ..::convoke::Options::DEFAULT }));
        }
    }

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, expected) in [("500ms", 500), ("2s", 2_000), ("1m", 60_000)] {
            assert_eq!(milliseconds(text), Some(expected), "{text}");
        }
        for text in ["", "2", "s", "2 s", "-2s", "1.5s", "2h", "0s", "18446744073709551615m"] {
            assert_eq!(milliseconds(text), None, "{text}");
        }
    }
}
