//! `#[job]` on a function.
//!
//! The function stays as it is. Beside it, in the namespace of types, stands a struct of the same
//! name, which carries what belongs to the job: `NAME`, `job(payload)` and `definition()`. The
//! definition registers itself at link time.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, FnArg, ItemFn, ReturnType, Type};

use crate::faults::Faults;
use crate::options::Options;
use crate::types::{self, last_segment};
use crate::value::invalid_name;

/// As many as a tuple of arguments may have.
pub(crate) const MOST_CONTEXTS: usize = 8;

/// The function and what stands beside it, with the errors.
pub(crate) fn expand(options: TokenStream, function: ItemFn) -> TokenStream {
    let mut faults = Faults::default();
    let options = Options::read(options, &mut faults);
    let mut refused = Faults::default();
    check_signature(&function, &mut refused);
    let parameters = Parameters::of(&function, &mut refused);
    if !refused.is_empty() {
        // Code made of a wrong signature would only add errors that say less.
        let (faults, refused) = (faults.into_compile_errors(), refused.into_compile_errors());
        return quote!(#function #faults #refused);
    }
    let name = name(&options, &function, &mut faults);
    check_payload(&options, &parameters, &mut faults);
    let job = beside(&function, &name, &parameters, &options);
    let faults = faults.into_compile_errors();
    quote!(#function #job #faults)
}

/// The parameters, in their order.
struct Parameters<'a> {
    all: Vec<Parameter<'a>>,
}

enum Parameter<'a> {
    Payload(&'a Type),
    Context(&'a Type),
}

impl<'a> Parameters<'a> {
    fn of(function: &'a ItemFn, faults: &mut Faults) -> Self {
        let mut all = Vec::new();
        for input in &function.sig.inputs {
            let ty = match input {
                FnArg::Typed(typed) => &*typed.ty,
                FnArg::Receiver(receiver) => {
                    faults.at(
                        receiver,
                        "a method cannot be a job; write a function outside of the impl, or put \
                         #[job] on `impl Job for …`",
                    );
                    continue;
                }
            };
            types::check(ty, faults);
            all.push(if types::is_context(ty) {
                Parameter::Context(ty)
            } else {
                Parameter::Payload(ty)
            });
        }
        let parameters = Self { all };
        for second in parameters.payloads().skip(1) {
            faults.at(
                second,
                "a job takes one payload; put both into one struct. What else it takes is \
                 `State<…>` and `JobContext`, by these names",
            );
        }
        if let Some(one_more) = parameters.contexts().nth(MOST_CONTEXTS) {
            faults.at(one_more, types::too_many_contexts());
        }
        parameters
    }

    fn payloads(&self) -> impl Iterator<Item = &'a Type> {
        self.all.iter().filter_map(|parameter| match parameter {
            Parameter::Payload(ty) => Some(*ty),
            Parameter::Context(_) => None,
        })
    }

    fn contexts(&self) -> impl Iterator<Item = &'a Type> {
        self.all.iter().filter_map(|parameter| match parameter {
            Parameter::Context(ty) => Some(*ty),
            Parameter::Payload(_) => None,
        })
    }

    fn payload(&self) -> Option<&'a Type> {
        self.payloads().next()
    }
}

fn check_signature(function: &ItemFn, faults: &mut Faults) {
    let signature = &function.sig;
    if !signature.generics.params.is_empty() {
        faults.at(
            &signature.generics,
            "a job cannot be generic: it is stored by its name, and one name has one payload type",
        );
    }
    if let Some(clause) = &signature.generics.where_clause {
        faults.at(clause, "a job cannot be generic, so it needs no where clause");
    }
    if let Some(token) = &signature.unsafety {
        faults.at(token, "a job cannot be unsafe: it is called with whatever payload was stored");
    }
    if let Some(abi) = &signature.abi {
        faults.at(abi, "a job is a Rust function: remove the ABI");
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && types::mentions_impl(ty)
    {
        faults.at(ty, "name the type that the job returns, instead of `impl …`");
    }
    if let Some(variadic) = &signature.variadic {
        faults.at(variadic, "a job cannot be variadic");
    }
}

/// The name that is stored with each job: that of the option, else that of the function.
fn name(options: &Options, function: &ItemFn, faults: &mut Faults) -> String {
    if let Some(name) = &options.name {
        return name.value();
    }
    let ident = &function.sig.ident;
    let name = ident.unraw().to_string();
    if options.name_key().is_none()
        && let Some(fault) = invalid_name("job", &name)
    {
        faults.at(ident, format!("{fault}; say another one with #[job(name = \"…\")]"));
    }
    name
}

/// What options and payload ask of each other.
fn check_payload(options: &Options, parameters: &Parameters<'_>, faults: &mut Faults) {
    let payload = parameters.payload();
    if let (Some(key), Some(payload)) = (options.timing(), payload)
        && last_segment(payload).is_none_or(|segment| segment.ident != "Option")
    {
        faults.at(
            payload,
            format!(
                "`{key}` enqueues this job without a payload; take none, or an `Option<…>` where \
                 it is enqueued by hand too"
            ),
        );
    }
    if let (Some(key), None) = (options.redact_key(), payload) {
        faults.at(key, "this job has no payload to redact; remove `redact`");
    }
}

/// The struct beside the function, and its registration.
///
/// The impl of `JobFunction` is the one place that asks the types for their traits. It is that of
/// a type of its own, which nobody sees, so that a public job may have a private payload.
fn beside(
    function: &ItemFn,
    name: &str,
    parameters: &Parameters<'_>,
    options: &Options,
) -> TokenStream {
    let (vis, ident) = (&function.vis, &function.sig.ident);
    let cfgs: Vec<_> = cfgs(&function.attrs).collect();
    let unit = Type::Verbatim(quote!(()));
    let payload = parameters.payload().unwrap_or(&unit);
    let output = match &function.sig.output {
        ReturnType::Default => &unit,
        ReturnType::Type(_, ty) => &**ty,
    };
    let types = quote!(__ShiftworkFunction);
    let this = quote!(<#types as ::shiftwork::__private::JobFunction>);
    let handler = handler(function, parameters);
    let needs = parameters
        .contexts()
        .map(|ty| quote_spanned!(ty.span()=> <#ty as ::shiftwork::FromContext>::needs(_needs);));
    let place = quote_spanned!(ident.span()=> ::core::file!(), ::core::line!());
    let calls = options.calls();
    let redact = parameters.payload().and(options.redact.as_ref()).map(|path| {
        quote!(.redact(|payload| ::shiftwork::__private::redacted::<#payload>(payload, #path)))
    });
    let (parameter, argument) = match parameters.payload() {
        Some(payload) => (quote!(payload: #payload), quote!(payload)),
        None => (quote!(), quote!(())),
    };
    // An error about the call of `job` shows the function, where its parameters are.
    let job = Ident::new("job", at(ident.span()));
    let about = format!("The job `{name}`, run by the function of this name.");
    quote! {
        #(#cfgs)*
        #[doc = #about]
        #[allow(non_camel_case_types, dead_code, unreachable_pub)]
        #vis struct #ident {}

        #(#cfgs)*
        const _: () = {
            struct #types;

            impl ::shiftwork::__private::JobFunction for #types {
                const NAME: &'static str = #name;
                type Payload = #payload;
                type Output = #output;
            }

            #[allow(dead_code, deprecated, private_interfaces, unreachable_pub)]
            impl #ident {
                /// The name that is stored with each job and says which handler runs it.
                #vis const NAME: &'static str = #name;

                /// A job to be enqueued.
                #vis fn #job(#parameter) -> ::shiftwork::NewJob {
                    #this::job(#argument)
                }

                /// The handler with its name and how it wants to be run.
                #vis fn definition() -> ::shiftwork::JobDefinition {
                    #this::definition(#handler, |_needs| { #(#needs)* }, #place)
                        #calls
                        #redact
                }
            }

            ::shiftwork::__private::inventory::submit! {
                ::shiftwork::__private::Registration(#ident::definition)
            }
        };
    }
}

/// The `Handler` that takes the arguments from the context and calls the function.
fn handler(function: &ItemFn, parameters: &Parameters<'_>) -> TokenStream {
    let ident = &function.sig.ident;
    let context = Ident::new("_context", Span::mixed_site());
    let given = Ident::new("_payload", Span::mixed_site());
    let (mut lets, mut arguments) = (Vec::new(), Vec::new());
    for (index, parameter) in parameters.all.iter().enumerate() {
        match parameter {
            Parameter::Payload(_) => arguments.push(given.clone()),
            Parameter::Context(ty) => {
                let argument = format_ident!("_argument_{index}", span = Span::mixed_site());
                lets.push(quote_spanned! {at(ty.span())=>
                    let #argument = <#ty as ::shiftwork::FromContext>::from_context(#context)?;
                });
                arguments.push(argument);
            }
        }
    }
    let kind = if function.sig.asyncness.is_some() { "asynchronous" } else { "blocking" };
    let kind = Ident::new(kind, at(ident.span()));
    // A future that is not `Send` is an error at the function's name.
    quote_spanned! {at(ident.span())=>
        <__ShiftworkFunction as ::shiftwork::__private::JobFunction>::#kind(|#given, #context| {
            #(#lets)*
            ::core::result::Result::Ok(#ident(#(#arguments),*))
        })
    }
}

/// What decides whether the item is there decides it for all that stands beside it.
pub(crate) fn cfgs(attributes: &[Attribute]) -> impl Iterator<Item = &Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("cfg"))
}

/// The place of the user's token, for code that the user did not write: an error stands there, and
/// the user's lints leave it alone.
pub(crate) fn at(span: Span) -> Span {
    Span::call_site().located_at(span)
}
