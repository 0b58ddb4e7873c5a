//! Which adapter `JOBS_PROVIDER` names. The one file that knows concrete adapters.
//!
//! Adapters register themselves through `inventory`; a crate that no code names is not linked and
//! registers nothing, so the bundled ones are named here.

#[cfg(feature = "memory")]
use shiftwork_memory as _;

use shiftwork_adapter::Provider;

use crate::error::Problems;
use crate::nearest::did_you_mean;

/// The adapters that come with this crate, each with the feature that brings it.
const BUNDLED: [(&str, &str); 2] = [("memory", "memory"), ("redis", "redis")];

/// The provider of that name: registered by hand, or linked.
///
/// # Errors
/// Which there are, and what brings the one that was named.
pub(crate) fn choose(name: &str, by_hand: &[Provider]) -> Result<Provider, String> {
    let all = all(by_hand);
    if let Some(provider) = all.iter().find(|provider| provider.name == name) {
        return Ok(*provider);
    }
    let names: Vec<_> = all.iter().map(|provider| provider.name).collect();
    let there_are = match names.as_slice() {
        [] => "no adapter at all".to_owned(),
        names => names.join(", "),
    };
    let remedy = match BUNDLED.iter().find(|(bundled, _)| *bundled == name) {
        Some((_, feature)) => format!(
            "it comes with the feature {feature:?}: shiftwork = {{ features = [{feature:?}] }} in \
             Cargo.toml"
        ),
        None => format!(
            "an adapter of another crate is linked by naming that crate once in code (`use \
             shiftwork_{} as _;`), or given to the builder with .provider(…)",
            name.replace(['-', '.'], "_")
        ),
    };
    Err(format!(
        "JOBS_PROVIDER is {name:?}, and this program has {there_are}{}; {remedy}",
        did_you_mean(name, names.iter().copied())
    ))
}

/// All providers that this program has.
pub(crate) fn all(by_hand: &[Provider]) -> Vec<Provider> {
    let mut all: Vec<_> = by_hand.to_vec();
    all.extend(Provider::linked());
    all
}

/// Reports providers that claim one name, or variables that are not adapters'.
pub(crate) fn check(by_hand: &[Provider], problems: &mut Problems) {
    let mut names: Vec<_> = all(by_hand).iter().map(|provider| provider.name).collect();
    names.sort_unstable();
    for pair in names.windows(2).filter(|pair| pair[0] == pair[1]) {
        problems.add(format!(
            "two adapters are named {:?}; link or register only one of them",
            pair[0]
        ));
    }
}
