//! `#[derive(FromRef)]`: each field of a struct is a state of its own.

use std::collections::HashMap;

use proc_macro2::TokenStream;
use quote::{ToTokens, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Field, Fields, Meta};

use crate::faults::Faults;
use crate::function::at;

/// An impl for each field, and its registration, or the errors.
pub(crate) fn expand(input: DeriveInput) -> TokenStream {
    let mut faults = Faults::default();
    let fields = fields(&input, &mut faults);
    check_types(&fields, &mut faults);
    if !faults.is_empty() {
        return faults.into_compile_errors();
    }
    fields.into_iter().map(|field| part(&input, field)).collect()
}

/// The fields that are states.
fn fields<'a>(input: &'a DeriveInput, faults: &mut Faults) -> Vec<&'a Field> {
    if !input.generics.params.is_empty() {
        faults.at(
            &input.generics,
            "#[derive(FromRef)] needs a struct without parameters: a state is found by its type",
        );
    }
    let Data::Struct(data) = &input.data else {
        faults.at(&input.ident, "#[derive(FromRef)] is for a struct with named fields");
        return Vec::new();
    };
    let Fields::Named(named) = &data.fields else {
        faults.at(&input.ident, "#[derive(FromRef)] is for a struct with named fields; name them");
        return Vec::new();
    };
    named.named.iter().filter(|field| !is_skipped(field, faults)).collect()
}

/// Whether it has `#[from_ref(skip)]`.
fn is_skipped(field: &Field, faults: &mut Faults) -> bool {
    let mut skipped = false;
    for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("from_ref")) {
        const OPTIONS: &str = "the only option is #[from_ref(skip)]";
        if !matches!(attribute.meta, Meta::List(_)) {
            faults.at(attribute, OPTIONS);
            skipped = true;
            continue;
        }
        let read = attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("skip") && meta.input.is_empty() {
                skipped = true;
                return Ok(());
            }
            Err(syn::Error::new_spanned(meta.path, OPTIONS))
        });
        if let Err(error) = read {
            faults.add(error);
            // A field whose attribute is wrong is not also reported for its type.
            skipped = true;
        }
    }
    skipped
}

/// A state is found by its type, so no two may have the same.
fn check_types(fields: &[&Field], faults: &mut Faults) {
    let mut first = HashMap::new();
    for field in fields {
        let name = field.ident.as_ref().map(ToString::to_string).unwrap_or_default();
        let ty = field.ty.to_token_stream().to_string();
        if let Some(other) = first.get(&ty) {
            faults.at(
                &field.ty,
                format!(
                    "`{other}` has this type too, and `State<…>` could not tell them apart; give \
                     one of them a type of its own, or mark it #[from_ref(skip)]"
                ),
            );
            continue;
        }
        first.insert(ty, name);
    }
}

fn part(input: &DeriveInput, field: &Field) -> TokenStream {
    let (whole, name, ty) = (&input.ident, &field.ident, &field.ty);
    let clone = quote_spanned! {at(ty.span())=>
        <#ty as ::core::clone::Clone>::clone(&whole.#name)
    };
    quote! {
        #[automatically_derived]
        #[allow(deprecated)]
        impl ::shiftwork::FromRef<#whole> for #ty {
            fn from_ref(whole: &#whole) -> Self {
                #clone
            }
        }

        const _: () = {
            ::shiftwork::__private::inventory::submit! {
                ::shiftwork::__private::SubState::of::<#whole, #ty>()
            }
        };
    }
}
