//! `#[job]` on `impl Job for …`.
//!
//! What the user left out is filled in: `NAME` from the type's name, `Args` and `Output` from the
//! signature of `run`, `configure` from the options. The definition registers itself at link time.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{FnArg, Ident, ImplItem, ImplItemFn, ItemImpl, PatType, ReturnType, Type, parse_quote};

use crate::faults::Faults;
use crate::function::{MOST_CONTEXTS, at, cfgs};
use crate::options::Options;
use crate::types::{self, last_segment};
use crate::value::invalid_name;

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
    let items = &mut implementation.items;
    let has_args = items.iter().any(|item| is_type(item, "Args"));
    let has_output = items.iter().any(|item| is_type(item, "Output"));
    let mut refused = Faults::default();
    let mut added: Vec<ImplItem> = Vec::new();
    match items.iter_mut().find_map(run) {
        Some(run) => {
            if !has_output {
                let output = output(run, &mut refused);
                added.push(parse_quote!(type Output = #output;));
            }
            if !has_args {
                let args = take_args(run, &mut refused);
                added.push(parse_quote!(type Args = #args;));
            }
        }
        None => refused.at(
            type_name,
            "the impl has no `run`; write `async fn run(self, …) -> …`, where … is any number of \
             `State<…>` and `JobContext`",
        ),
    }
    if refused.is_empty() {
        items.extend(added);
        return;
    }
    // Something that compiles, so that these faults are all that is reported.
    faults.extend(refused);
    items.retain_mut(|item| {
        !is_type(item, "Args") && !is_type(item, "Output") && run(item).is_none()
    });
    items.push(parse_quote!(
        type Args = ();
    ));
    items.push(parse_quote!(
        type Output = ();
    ));
    items.push(parse_quote!(
        async fn run(self, (): ()) {}
    ));
}

fn is_type(item: &ImplItem, name: &str) -> bool {
    matches!(item, ImplItem::Type(ty) if ty.ident == name)
}

fn run(item: &mut ImplItem) -> Option<&mut ImplItemFn> {
    match item {
        ImplItem::Fn(function) if function.sig.ident == "run" => Some(function),
        _ => None,
    }
}

/// What `run` returns. Only of an async function is it written there.
fn output(run: &ImplItemFn, faults: &mut Faults) -> Type {
    if run.sig.asyncness.is_none() {
        faults.at(run.sig.fn_token, "write `async fn run`, or say its output: `type Output = …;`");
    }
    match &run.sig.output {
        ReturnType::Default => parse_quote!(()),
        ReturnType::Type(_, ty) => {
            if types::mentions_impl(ty) {
                faults.at(ty, "name the type that the job returns, instead of `impl …`");
            }
            (**ty).clone()
        }
    }
}

/// Makes one argument of all those of `run`, and answers its type: a tuple, unless it is one.
fn take_args(run: &mut ImplItemFn, faults: &mut Faults) -> Type {
    let signature = &mut run.sig;
    if !signature.generics.params.is_empty() {
        faults.at(&signature.generics, "`run` cannot be generic; name the types");
    }
    let mut inputs = std::mem::take(&mut signature.inputs).into_iter().peekable();
    match inputs.next_if(|input| matches!(input, FnArg::Receiver(_))) {
        Some(FnArg::Receiver(receiver)) => {
            if receiver.reference.is_some() || receiver.colon_token.is_some() {
                faults.at(&receiver, "`run` uses the payload up: take `self`");
            }
            signature.inputs.push(FnArg::Receiver(receiver));
        }
        _ => faults.at(&signature.ident, "`run` takes the payload first, as `self`"),
    }
    let mut contexts: Vec<PatType> = inputs
        .filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        })
        .collect();
    contexts.iter().for_each(|context| types::check(&context.ty, faults));
    if let Some(one_more) = contexts.get(MOST_CONTEXTS) {
        faults.at(&one_more.ty, types::too_many_contexts());
    }
    let args = match contexts.len() {
        1 => contexts.remove(0),
        _ => {
            let attrs = contexts.iter().flat_map(|context| &context.attrs);
            let patterns = contexts.iter().map(|context| &context.pat);
            let types = contexts.iter().map(|context| &context.ty);
            // A type that cannot be an argument is an error at the name of `run`.
            let types = quote_spanned!(at(signature.ident.span())=> (#(#types),*));
            parse_quote!(#(#attrs)* (#(#patterns),*): #types)
        }
    };
    let ty = (*args.ty).clone();
    signature.inputs.push(FnArg::Typed(args));
    ty
}

fn add_configure(implementation: &mut ItemImpl, options: &Options, faults: &mut Faults) {
    let calls = options.calls();
    let written = implementation
        .items
        .iter()
        .any(|item| matches!(item, ImplItem::Fn(function) if function.sig.ident == "configure"));
    if written {
        for key in options.called() {
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
