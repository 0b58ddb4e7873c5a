//! What can be told of a type from its tokens.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::{GenericArgument, PathArguments, PathSegment, Type};

use crate::faults::Faults;
use crate::function::MOST_CONTEXTS;

/// Whether it is `State<…>`, an `Option` of that, or `JobContext`, by the last segment of its path.
pub(crate) fn is_context(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| {
        segment.ident == "JobContext"
            || is_state(segment)
            || (segment.ident == "Option" && only_argument(segment).is_some_and(is_state))
    })
}

fn is_state(segment: &PathSegment) -> bool {
    segment.ident == "State" && !matches!(segment.arguments, PathArguments::None)
}

/// The last segment of the one type in its angle brackets: `State<u8>` of `Option<State<u8>>`.
fn only_argument(segment: &PathSegment) -> Option<&PathSegment> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(ty)) if arguments.args.len() == 1 => last_segment(ty),
        _ => None,
    }
}

/// The last segment of its path: `Option<u8>` of `std::option::Option<u8>`.
pub(crate) fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match ty {
        Type::Path(path) => path.path.segments.last(),
        // A type that went through a `macro_rules!` macro is in a group of its own.
        Type::Group(group) => last_segment(&group.elem),
        Type::Paren(paren) => last_segment(&paren.elem),
        _ => None,
    }
}

/// Refuses what cannot be made from stored bytes or from the context: references, lifetimes and
/// `impl Trait`.
pub(crate) fn check(ty: &Type, faults: &mut Faults) {
    if let Type::Reference(reference) = ty {
        let owned = if is_context(&reference.elem) {
            "take it by value; cloning it is cheap"
        } else {
            "take an owned value, such as `String` rather than `&str`"
        };
        faults.at(ty, format!("a job's argument cannot be borrowed: {owned}"));
    } else if mentions_impl(ty) {
        faults.at(
            ty,
            "a job's argument has one type, which its stored payload is read as; name the type \
             instead of `impl …`",
        );
    } else if borrows(ty.to_token_stream()) {
        faults.at(
            ty,
            "a job's argument cannot borrow, since it outlives who enqueued it; use owned types, \
             such as `String`",
        );
    }
}

pub(crate) fn mentions_impl(ty: &Type) -> bool {
    any(
        ty.to_token_stream(),
        &mut |tree| matches!(tree, TokenTree::Ident(ident) if ident == "impl"),
    )
}

/// The fault of one context too many.
pub(crate) fn too_many_contexts() -> String {
    format!(
        "a job takes at most {MOST_CONTEXTS} `State<…>` and `JobContext`; put several states into \
         one struct"
    )
}

/// Whether a lifetime other than `'static` is in it, written or not.
fn borrows(tokens: TokenStream) -> bool {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(tree) = tokens.next() {
        let borrows = match (&tree, tokens.peek()) {
            (TokenTree::Group(group), _) => borrows(group.stream()),
            (TokenTree::Punct(punct), next) if punct.as_char() == '&' => {
                !matches!(next, Some(TokenTree::Punct(next)) if next.as_char() == '\'')
            }
            (TokenTree::Punct(punct), next) if punct.as_char() == '\'' => {
                !matches!(next, Some(TokenTree::Ident(name)) if name == "static")
            }
            _ => false,
        };
        if borrows {
            return true;
        }
    }
    false
}

fn any(tokens: TokenStream, found: &mut impl FnMut(&TokenTree) -> bool) -> bool {
    tokens.into_iter().any(|tree| {
        found(&tree) || matches!(&tree, TokenTree::Group(group) if any(group.stream(), found))
    })
}
