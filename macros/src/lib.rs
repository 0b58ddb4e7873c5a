//! The macros of Shiftwork.

use proc_macro::TokenStream;

/// Placeholder.
#[proc_macro_attribute]
pub fn job(_attributes: TokenStream, item: TokenStream) -> TokenStream {
    item
}

/// Placeholder.
#[proc_macro_derive(FromRef)]
pub fn from_ref(_item: TokenStream) -> TokenStream {
    TokenStream::new()
}
