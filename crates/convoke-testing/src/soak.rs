//! Long forms of tests, for those who ask.

/// Whether long forms are asked for: `CONVOKE_SOAK=1`.
#[must_use]
pub fn is_soak() -> bool {
    std::env::var("CONVOKE_SOAK").is_ok_and(|value| value == "1")
}

/// Cases of a property test: `CONVOKE_PROPTEST_CASES`, or `quick` without it.
///
/// # Panics
///
/// When the variable is no number.
#[must_use]
pub fn proptest_cases(quick: u32) -> u32 {
    let cases = std::env::var("CONVOKE_PROPTEST_CASES").ok();
    cases.map_or(quick, |cases| cases.parse().expect("CONVOKE_PROPTEST_CASES is a number"))
}
