//! The macros of Shiftwork.

mod duration;
mod faults;
mod from_ref;
mod function;
mod implementation;
mod nearest;
mod options;
mod types;

use proc_macro::TokenStream;
use syn::{DeriveInput, Item, parse_macro_input};

/// Makes a job of a function.
#[proc_macro_attribute]
pub fn job(options: TokenStream, item: TokenStream) -> TokenStream {
    match parse_macro_input!(item as Item) {
        Item::Fn(function) => function::expand(options.into(), function),
        Item::Impl(implementation) => implementation::expand(options.into(), implementation),
        other => {
            let error = syn::Error::new_spanned(
                &other,
                "#[job] goes on a function, or on `impl Job for …`",
            )
            .into_compile_error();
            quote::quote!(#other #error)
        }
    }
    .into()
}

/// Makes each field a state.
#[proc_macro_derive(FromRef, attributes(from_ref))]
pub fn from_ref(input: TokenStream) -> TokenStream {
    from_ref::expand(parse_macro_input!(input as DeriveInput)).into()
}
