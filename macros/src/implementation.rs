//! `#[job]` on `impl Job for …`.
//!
//! What the user left out is filled in: `NAME` from the type's name, `Args` and `Output` from the
//! signature of `run`, `configure` from the options. The definition registers itself at link time.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::punctuated::Punctuated;
use syn::{
    FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, Pat, PatType, ReturnType, Token, Type,
    parse_quote,
};

use crate::faults::Faults;
use crate::function::{MOST_CONTEXTS, cfgs};
use crate::options::{Options, invalid_name};
use crate::types::{self, last_segment};

/// The impl, complete, and its registration, with the errors.
pub(crate) fn expand(options: TokenStream, mut implementation: ItemImpl) -> TokenStream {
    let mut faults = Faults::default();
    let options = Options::read(options, &mut faults);
    let mut refused = Faults::default();
    let type_name = check_header(&implementation, &mut refused);
    let (Some(type_name), true) = (type_name, refused.is_empty()) else {
        let (faults, refused) = (faults.into_compile_errors(), refused.into_compile_errors());
        return quote!(#faults #refused);
    };
    add_name(&mut implementation, &type_name, &options, &mut faults);
    add_types(&mut implementation, &type_name, &mut faults);
    add_configure(&mut implementation, &options, &mut faults);
    if let Some(key) = options.redact_key() {
        faults.at(key, "write `fn redacted(&self) -> Option<String>` in the impl instead");
    }

    let cfgs = cfgs(&implementation.attrs);
    let payload = &implementation.self_ty;
    let place = quote_spanned!(type_name.span()=> ::core::file!(), ::core::line!());
    let faults = faults.into_compile_errors();
    quote! {
        #implementation

        #(#cfgs)*
        const _: () = {
            ::shiftwork::__private::inventory::submit! {
                ::shiftwork::__private::Registration(|| {
                    ::shiftwork::JobDefinition::of_at::<#payload>(#place)
                })
            }
        };

        #faults
    }
}

/// The name of the type, where the impl is one of `Job` for a plain type.
fn check_header(implementation: &ItemImpl, faults: &mut Faults) -> Option<Ident> {
    match &implementation.trait_ {
        Some((None, path, _)) if path.segments.last().is_some_and(|last| last.ident == "Job") => {}
        Some((_, path, _)) => {
            faults.at(path, "#[job] completes an impl of `shiftwork::Job`, and of no other trait");
        }
        None => faults.at(
            &implementation.self_ty,
            "#[job] goes on a function, or on `impl Job for …` with an `async fn run(self, …)`",
        ),
    }
    if let Some(token) = &implementation.unsafety {
        faults.at(token, "`Job` is a safe trait: remove `unsafe`");
    }
    let generic = "a job's payload cannot be generic: it is stored by its name, and one name has \
                   one payload type";
    if !implementation.generics.params.is_empty() {
        faults.at(&implementation.generics, generic);
    }
    let segment = last_segment(&implementation.self_ty);
    match segment {
        // The parameters of the impl were refused already.
        Some(_) if !implementation.generics.params.is_empty() => None,
        Some(segment) => Some(segment.ident.clone()),
        None => {
            faults.at(&implementation.self_ty, "a job's payload is a struct or an enum of yours");
            None
        }
    }
}

fn add_name(
    implementation: &mut ItemImpl,
    type_name: &Ident,
    options: &Options,
    faults: &mut Faults,
) {
    let written = implementation
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Const(constant) if constant.ident == "NAME"));
    if written {
        if let Some(key) = options.name_key() {
            faults.at(key, "the impl has a `const NAME` already; keep one of them");
        }
        return;
    }
    let name = match &options.name {
        Some(name) => name.value(),
        None => {
            let name = snake_case(&type_name.unraw().to_string());
            if options.name_key().is_none()
                && let Some(fault) = invalid_name("job", &name)
            {
                faults.at(type_name, format!("{fault}; say another one with #[job(name = \"…\")]"));
            }
            name
        }
    };
    implementation.items.push(parse_quote!(const NAME: &'static str = #name;));
}

/// `Args` and `Output`, by the signature of `run`. Whoever writes `Args` writes all of `run`.
fn add_types(implementation: &mut ItemImpl, type_name: &Ident, faults: &mut Faults) {
    let has_type = |implementation: &ItemImpl, name: &str| {
        implementation
            .items
            .iter()
            .any(|item| matches!(item, ImplItem::Type(ty) if ty.ident == name))
    };
    let (has_args, has_output) =
        (has_type(implementation, "Args"), has_type(implementation, "Output"));
    let run = implementation.items.iter_mut().find_map(|item| match item {
        ImplItem::Fn(function) if function.sig.ident == "run" => Some(function),
        _ => None,
    });
    let Some(run) = run else {
        if !(has_args && has_output) {
            faults.at(
                type_name,
                "the impl has no `run`; write `async fn run(self, …) -> …`, where … is any number \
                 of `State<…>` and `JobContext`",
            );
        }
        return;
    };
    let mut added: Vec<ImplItem> = Vec::new();
    if !has_output {
        match output(run) {
            Ok(output) => added.push(parse_quote!(type Output = #output;)),
            Err(error) => faults.add(error),
        }
    }
    if !has_args {
        let args = take_args(run, faults);
        added.push(parse_quote!(type Args = #args;));
    }
    implementation.items.extend(added);
}

/// What `run` returns. Only of an async function is it written there.
fn output(run: &ImplItemFn) -> syn::Result<Type> {
    if run.sig.asyncness.is_none() {
        return Err(syn::Error::new_spanned(
            run.sig.fn_token,
            "write `async fn run`, or say its output with `type Output = …;`",
        ));
    }
    Ok(match &run.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => (**ty).clone(),
    })
}

/// Makes one argument, a tuple, of all those of `run`, and answers its type.
fn take_args(run: &mut ImplItemFn, faults: &mut Faults) -> Type {
    let signature = &mut run.sig;
    if !signature.generics.params.is_empty() {
        faults.at(&signature.generics, "`run` cannot be generic");
    }
    let mut inputs = std::mem::take(&mut signature.inputs).into_iter().peekable();
    let by_value = |input: &FnArg| matches!(input, FnArg::Receiver(receiver) if receiver.reference.is_none() && receiver.colon_token.is_none());
    match inputs.next_if(|input| matches!(input, FnArg::Receiver(_))) {
        Some(receiver) => {
            if !by_value(&receiver) {
                faults.at(&receiver, "`run` uses the payload up: take `self`");
            }
            signature.inputs.push(receiver);
        }
        None => faults.at(&signature.ident, "`run` takes the payload first, as `self`"),
    }
    let mut patterns = Punctuated::<Pat, Token![,]>::new();
    let mut args = Punctuated::<Type, Token![,]>::new();
    let mut attrs = Vec::new();
    for input in inputs {
        // Behind a receiver, all are typed.
        let FnArg::Typed(PatType { attrs: own, pat, ty, .. }) = input else { continue };
        types::check(&ty, faults);
        if args.len() == MOST_CONTEXTS {
            faults.at(&ty, types::too_many_contexts());
        }
        attrs.extend(own);
        patterns.push(*pat);
        args.push(*ty);
    }
    // A tuple of one is written with a comma.
    if !args.is_empty() {
        patterns.push_punct(Token![,](proc_macro2::Span::call_site()));
        args.push_punct(Token![,](proc_macro2::Span::call_site()));
    }
    signature.inputs.push(parse_quote!(#(#attrs)* (#patterns): (#args)));
    parse_quote!((#args))
}

fn add_configure(implementation: &mut ItemImpl, options: &Options, faults: &mut Faults) {
    let calls = options.calls();
    let written = implementation
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Fn(function) if function.sig.ident == "configure"));
    if written {
        for key in options.settings() {
            faults.at(key, "the impl has its own `fn configure`; say it there");
        }
    } else if !calls.is_empty() {
        implementation.items.push(parse_quote! {
            fn configure(definition: ::shiftwork::JobDefinition) -> ::shiftwork::JobDefinition {
                definition #calls
            }
        });
    }
}

/// `WelcomeEmail` → `welcome_email`, `HTTPPing2` → `http_ping2`.
fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let after_lower =
            index > 0 && (letters[index - 1].is_lowercase() || letters[index - 1].is_numeric());
        let last_of_capitals = index > 0
            && letters[index - 1].is_uppercase()
            && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (after_lower || last_of_capitals) {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_gives_its_name_in_snake_case() {
        for (ty, name) in [
            ("WelcomeEmail", "welcome_email"),
            ("Ping", "ping"),
            ("HTTPPing2", "http_ping2"),
            ("Sha256Sum", "sha256_sum"),
            ("Already_Snake", "already_snake"),
        ] {
            assert_eq!(snake_case(ty), name);
        }
    }
}
