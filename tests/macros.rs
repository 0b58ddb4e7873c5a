//! The macros: what they accept, what they refuse and with which words, and what they make.

#[test]
fn what_is_sound_compiles_and_what_is_not_says_why() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/macros/pass/*.rs");
    cases.compile_fail("tests/macros/fail/*.rs");
}
