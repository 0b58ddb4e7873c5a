//! A struct whose fields are states, of one's own types and of others'.
#![deny(warnings, missing_docs, unreachable_pub, unsafe_code)]

use std::sync::Arc;

use shiftwork::FromRef;

#[derive(Clone)]
struct Pool;

#[derive(Clone, Copy)]
struct Limit(u8);

struct Clients;

#[derive(Clone, FromRef)]
struct AppState {
    pool: Pool,
    limit: Limit,
    clients: Arc<Clients>,
    base_url: String,
    region: &'static str,
    #[from_ref(skip)]
    #[allow(dead_code)]
    fallback_url: String,
}

#[derive(FromRef)]
struct Empty {}

fn main() {
    let state = AppState {
        pool: Pool,
        limit: Limit(3),
        clients: Arc::new(Clients),
        base_url: "https://example.com".into(),
        region: "eu",
        fallback_url: String::new(),
    };
    let _ = (Pool::from_ref(&state), Arc::<Clients>::from_ref(&state), Empty {});
    assert_eq!(Limit::from_ref(&state).0, 3);
    assert_eq!(String::from_ref(&state), "https://example.com");
    assert_eq!(<&'static str>::from_ref(&state), "eu");

    #[derive(FromRef)]
    struct Inner {
        number: u64,
    }
    assert_eq!(u64::from_ref(&Inner { number: 7 }), 7);
}
