//! The tests of the macros, in a crate of their own: `trybuild` builds what it compares with all
//! dev-dependencies of the crate it stands in, and here there are few.
