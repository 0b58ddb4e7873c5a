//! Which adapter `JOBS_PROVIDER` names. The one file that knows concrete adapters.
//!
//! Adapters register themselves through `inventory`; a crate that no code names is not linked and
//! registers nothing, so the bundled ones are named here.

#[cfg(feature = "memory")]
use shiftwork_memory as _;
#[cfg(feature = "redis")]
use shiftwork_redis as _;

use shiftwork_adapter::Provider;

use crate::error::Problems;
use crate::nearest::did_you_mean;

/// The adapters that come with this crate, each behind the feature of its name.
const BUNDLED: [&str; 2] = ["memory", "redis"];

/// Variables of adapters of ours, which may not be in this build: no process takes them for slips.
pub(crate) const ELSEWHERE: [&str; 6] = [
    "JOBS_MEMORY_CAPACITY",
    "JOBS_REDIS_URL",
    "JOBS_REDIS_TLS_CA",
    "JOBS_REDIS_TLS_CERT",
    "JOBS_REDIS_TLS_KEY",
    "JOBS_REDIS_WAIT_REPLICAS",
];

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
    Err(format!(
        "JOBS_PROVIDER is {name:?}, and this program has {there_are}{}; {}",
        did_you_mean(name, names.iter().copied()),
        remedy(name)
    ))
}

/// What to do to have an adapter.
fn remedy(name: &str) -> String {
    if BUNDLED.contains(&name) {
        return format!(
            "it comes with the feature {name:?}: shiftwork = {{ features = [{name:?}] }} in Cargo.toml"
        );
    }
    format!(
        "an adapter of another crate is linked by naming that crate once in code, such as `use \
         shiftwork_{} as _;`, or given to the builder with .provider(…)",
        name.replace(['-', '.'], "_")
    )
}

/// A store that the environment names and nothing uses: probably not meant.
pub(crate) fn passed_over(chosen: &Provider, is_set: impl Fn(&str) -> bool) -> Option<String> {
    let urls = ["JOBS_REDIS_URL", "REDIS_URL", "UPSTASH_REDIS_URL"];
    let url = urls.into_iter().find(|url| chosen.name == "memory" && is_set(url))?;
    Some(format!(
        "{url} is set, and jobs are kept in this process's memory all the same: they are gone when \
         it ends; set JOBS_PROVIDER=redis if they should not be"
    ))
}

/// All providers that this program has. One that is registered by hand is meant, also where one
/// of that name is linked: to hand it over often links it.
pub(crate) fn all(by_hand: &[Provider]) -> Vec<Provider> {
    let meant = |linked: &&&Provider| by_hand.iter().all(|hand| hand.name != linked.name);
    let linked = Provider::linked();
    by_hand.iter().chain(linked.iter().filter(meant).copied()).copied().collect()
}

/// Reports providers that claim one name.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_is_not_in_the_build_is_told_by_the_feature_that_brings_it() {
        assert!(remedy("memory").contains("features = [\"memory\"]"));
        assert!(remedy("redis").contains("features = [\"redis\"]"));
        assert!(remedy("my-sql").contains("`use shiftwork_my_sql as _;`"));
    }
}
