//! The errors a user sees, as they are printed.
//!
//! They live beside the macros, and not in the facade, because the compiler's texts depend on which crates are
//! linked: here they are the same whatever features the facade is tested with.
//!
//! `TRYBUILD=overwrite cargo test -p convoke-macros --test ui` writes them anew, to be read before they are kept.

#[test]
fn every_mistake_is_explained_where_it_was_made() {
    trybuild::TestCases::new().compile_fail("tests/ui/*/*.rs");
}
