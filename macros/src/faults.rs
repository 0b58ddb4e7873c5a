//! What is wrong with a use of a macro, gathered, so that all of it is reported at once.

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::Error;

/// The faults found so far, each at the user's own token.
#[derive(Default)]
pub(crate) struct Faults(Option<Error>);

impl Faults {
    /// A fault at `tokens`. The message says what is allowed.
    pub(crate) fn at(&mut self, tokens: impl ToTokens, message: impl std::fmt::Display) {
        self.add(Error::new_spanned(tokens, message));
    }

    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    pub(crate) fn extend(&mut self, others: Self) {
        if let Some(errors) = others.0 {
            self.add(errors);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The `compile_error!` of each fault.
    pub(crate) fn into_compile_errors(self) -> TokenStream {
        self.0.map(Error::into_compile_error).unwrap_or_default()
    }
}
