//! What handlers need and the application has: a pool, a client, its settings.
//!
//! 1. The application gives values to its builder: `.state(AppState { … })`.
//! 2. A handler asks for one by type: `mailer: State<Mailer>`.
//! 3. At start, in a process that runs jobs, every type asked for must be there: given as it is,
//!    or a part of what was given by [`FromRef`]. What is missing is an error that names job and
//!    type, before anything runs. An `Option<State<…>>` asks for nothing, and is `None` then.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::context::{FromContext, Needs};
use crate::{JobContext, JobError};

/// A value of the application's, for a handler.
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[derive(Clone)]
/// struct Mailer;
///
/// #[job]
/// async fn greet(State(mailer): State<Mailer>) {
///     let _: Mailer = mailer;
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct State<T>(pub T);

impl<T> Deref for State<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for State<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Clone + Send + Sync + 'static> FromContext for State<T> {
    fn needs(needs: &mut Needs) {
        needs.add::<T>();
    }

    fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
        ctx.states().get::<T>().cloned().map(Self).ok_or_else(|| {
            JobError::permanent(format!(
                "this process was given no state of type {}; give it one with Jobs::from_env().state(…)",
                type_name::<T>()
            ))
        })
    }
}

/// A value that a process may be given, and need not: `None` where nobody gave one. No process is kept
/// from starting for it.
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[derive(Clone)]
/// struct Greeting(&'static str);
///
/// #[job]
/// async fn greet(greeting: Option<State<Greeting>>) {
///     println!("{}", greeting.map_or("Hello", |State(Greeting(text))| text));
/// }
/// ```
impl<T: Clone + Send + Sync + 'static> FromContext for Option<State<T>> {
    fn needs(_: &mut Needs) {}

    fn from_context(ctx: &JobContext) -> Result<Self, JobError> {
        Ok(ctx.states().get::<T>().cloned().map(State))
    }
}

/// A part that can be had from a whole `S`, as in axum.
///
/// Derive it on the whole for each of its fields, and nothing more is needed. Written by hand,
/// it takes effect by [`JobsBuilder::substate`](crate::JobsBuilder::substate).
///
/// ```
/// use shiftwork::prelude::*;
///
/// #[derive(Clone)]
/// struct Mailer;
///
/// #[derive(Clone, FromRef)]
/// struct AppState {
///     mailer: Mailer,
/// }
///
/// #[job]
/// async fn greet(mailer: State<Mailer>) {}
///
/// let jobs = Jobs::from_env().state(AppState { mailer: Mailer });
/// ```
pub trait FromRef<S> {
    /// The part of `whole`.
    fn from_ref(whole: &S) -> Self;
}

/// How a part is had from a whole, submitted to `inventory` by `#[derive(FromRef)]`.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct SubState(fn(&mut States) -> bool);

inventory::collect!(SubState);

impl SubState {
    pub const fn of<S: 'static, T: FromRef<S> + Send + Sync + 'static>() -> Self {
        Self(States::project::<S, T>)
    }
}

/// The values that a process was given, by type.
#[derive(Clone, Default)]
pub(crate) struct States {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, value: T) {
        self.values.insert(TypeId::of::<T>(), Arc::new(value));
    }

    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.values.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub(crate) fn contains(&self, id: TypeId) -> bool {
        self.values.contains_key(&id)
    }

    pub(crate) fn have(&self, needs: &Needs) -> bool {
        needs.0.iter().all(|(id, _)| self.contains(*id))
    }

    /// Adds every part that can be had, parts of parts too. What was given stays as given.
    pub(crate) fn add_parts(&mut self, by_hand: &[SubState]) {
        let all: Vec<_> = by_hand
            .iter()
            .copied()
            .chain(inventory::iter::<SubState>.into_iter().copied())
            .collect();
        while all.iter().fold(false, |changed, SubState(project)| project(self) || changed) {}
    }

    fn project<S: 'static, T: FromRef<S> + Send + Sync + 'static>(&mut self) -> bool {
        if self.contains(TypeId::of::<T>()) {
            return false;
        }
        let Some(part) = self.get::<S>().map(T::from_ref) else { return false };
        self.insert(part);
        true
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({})", self.values.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone)]
    struct Whole(Part);
    #[derive(Clone)]
    struct Part(u8);

    impl FromRef<Whole> for Part {
        fn from_ref(whole: &Whole) -> Self {
            whole.0.clone()
        }
    }

    impl FromRef<Part> for u8 {
        fn from_ref(part: &Part) -> Self {
            part.0
        }
    }

    #[test]
    fn parts_of_parts_are_found_whatever_the_order() {
        let mut states = States::default();
        states.insert(Whole(Part(7)));
        states.add_parts(&[SubState::of::<Part, u8>(), SubState::of::<Whole, Part>()]);
        assert_eq!(states.get::<u8>(), Some(&7));
    }

    #[test]
    fn a_given_value_is_not_replaced_by_a_part() {
        let mut states = States::default();
        states.insert(Whole(Part(7)));
        states.insert(Part(8));
        states.add_parts(&[SubState::of::<Whole, Part>()]);
        assert_eq!(states.get::<Part>().unwrap().0, 8);
    }
}
