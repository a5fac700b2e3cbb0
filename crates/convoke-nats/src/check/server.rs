//! What a server says of itself when it is connected to.

use std::time::Duration;

use convoke_core::{Finding, Profile};

use crate::Config;

/// The oldest server whose streams survive what Convoke promises to survive.
const VERSION_MIN: [u64; 3] = [2, 12, 3];
/// A sender repeats what was not confirmed for some ten seconds; with a pause for a server's restart, this is plenty.
const DUPLICATE_WINDOW_MIN: Duration = Duration::from_secs(30);

pub(super) fn version(version: &str) -> Finding {
    if is_new_enough(version) {
        return Finding::fine("nats", format!("version {version}"));
    }
    Finding::error("nats", format!("the server is version {version}"))
        .expected("2.12.3 or later")
        .remedy("update it; earlier ones lose what they confirmed")
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version: [u64; 3] = std::array::from_fn(|_| numbers.next().unwrap_or(0));
    version >= VERSION_MIN
}

/// A message that the streams would take does not reach them when the server takes less.
pub(super) fn max_payload(bytes: usize, config: &Config) -> Option<Finding> {
    let largest = config.events.event_bytes_max.max(config.jobs.job_bytes_max);
    let fits = usize::try_from(largest).is_ok_and(|largest| largest <= bytes);
    (!fits).then(|| {
        Finding::warning("nats", format!("max_payload is {bytes} bytes"))
            .expected(format!("{largest} bytes, as `event_bytes_max` and `job_bytes_max` allow"))
            .remedy("raise it at the server, or lower those two; larger messages are refused")
    })
}

/// Several copies need several servers.
pub(super) fn clustered(cluster: Option<&str>, config: &Config) -> Option<Finding> {
    let copies = config.copies();
    match cluster {
        Some(name) if !name.is_empty() => Some(Finding::fine("nats", format!("in the cluster {name}"))),
        _ if copies > 1 => Some(
            Finding::error("nats", "the server is not part of a cluster")
                .expected(format!("a cluster of {copies} or more, for {copies} copies"))
                .remedy("connect to a cluster, or choose the profile `fast`"),
        ),
        _ => None,
    }
}

/// No client can see how often the server writes to its disk: the operator says so.
pub(super) fn fsync(config: &Config) -> Finding {
    if config.fsync_confirmed {
        return Finding::fine("nats", "sync_interval: always, as the configuration says");
    }
    let unseen = "sync_interval cannot be seen by a client";
    match config.profile {
        Profile::Fast => Finding::fine("nats", format!("{unseen}; `fast` accepts its default of 2 min")),
        Profile::Ha => Finding::warning("nats", unseen).expected("known").remedy(
            "a power failure of all servers at once may lose what was confirmed in the last 2 min; set \
                 `sync_interval: always` at every server, then `fsync_confirmed = true` here",
        ),
        Profile::Strict => Finding::error("nats", unseen).expected("always, and confirmed").remedy(
            "set `jetstream { sync_interval: always }` at every server, then `fsync_confirmed = true` in the \
                 NATS configuration",
        ),
    }
}

/// A window that is too short stores a repeat twice; the inbox catches it, at its price.
pub(super) fn duplicate_window(config: &Config) -> Option<Finding> {
    let window = config.events.duplicate_window.min(config.jobs.duplicate_window);
    (window < DUPLICATE_WINDOW_MIN).then(|| {
        Finding::warning("nats", format!("the duplicate window is {window:?}"))
            .expected(format!("{DUPLICATE_WINDOW_MIN:?} or more"))
            .remedy("raise `duplicate_window`; a message that is published again later is stored twice")
    })
}

#[cfg(test)]
mod tests {
    use convoke_core::Severity;

    use super::*;

    #[test]
    fn servers_that_lose_what_they_confirmed_are_too_old() {
        for old in ["2.9.10", "2.12.2", "2.12.0-RC.1", "1.4.1", "", "nonsense"] {
            assert!(version(old).is_error(), "{old:?}");
        }
        for new in ["2.12.3", "2.15.1", "2.14.0-beta.1", "3.0.0"] {
            assert_eq!(version(new).severity, Severity::Fine, "{new:?}");
        }
    }

    #[test]
    fn a_profile_decides_how_bad_it_is_that_syncs_cannot_be_seen() {
        let severity = |profile| fsync(&Config::default().profile(profile)).severity;
        assert_eq!(Profile::ALL.map(severity), [Severity::Fine, Severity::Warning, Severity::Error]);
        let confirmed = Config::default().profile(Profile::Strict).fsync_confirmed();
        assert_eq!(fsync(&confirmed).severity, Severity::Fine);
    }

    #[test]
    fn several_copies_need_a_cluster() {
        let ha = Config::default().profile(Profile::Ha);
        assert!(clustered(None, &ha).is_some_and(|finding| finding.is_error()));
        assert!(clustered(Some(""), &ha).is_some_and(|finding| finding.is_error()));
        assert!(clustered(Some("c1"), &ha).is_some_and(|finding| !finding.is_error()));
        assert_eq!(clustered(None, &Config::default()), None);
    }

    #[test]
    fn limits_that_do_not_fit_together_are_told() {
        assert_eq!(max_payload(1024 * 1024, &Config::default()), None);
        assert!(max_payload(1024, &Config::default()).is_some_and(|finding| finding.found.contains("1024")));
        assert_eq!(duplicate_window(&Config::default()), None);
        let short = Config::default().jobs(|jobs| jobs.duplicate_window = Duration::from_secs(1));
        assert!(duplicate_window(&short).is_some_and(|finding| finding.found.contains("1s")));
    }
}
