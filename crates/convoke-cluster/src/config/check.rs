use std::{collections::BTreeSet, time::Duration};

use super::{Config, Durability};
use crate::{Error, NodeId};

/// The greatest number of a founder. Those who join are numbered from the log, above it, so that no number ever comes
/// twice.
pub(crate) const FOUNDER_ID_MAX: NodeId = 999;
/// The most members a cluster begins with.
const FOUNDERS_MAX: usize = 15;
/// The most bytes of one command: what the frames between members carry.
const COMMAND_BYTES_MAX: usize = 3 * 1024 * 1024;

impl Config {
    /// Whether a node can start with it.
    ///
    /// # Errors
    /// Everything that is wrong with it at once, each key with its remedy.
    pub fn check(&self) -> Result<(), Error> {
        let problems = self.problems();
        if problems.is_empty() { Ok(()) } else { Err(wrong(&problems)) }
    }

    /// What is wrong with it, each as a sentence.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.name_problems(&mut problems);
        self.address_problems(&mut problems);
        self.founder_problems(&mut problems);
        self.timing.problems(&mut problems);
        self.lease_problems(&mut problems);
        self.limit_problems(&mut problems);
        problems
    }

    fn name_problems(&self, problems: &mut Vec<String>) {
        let fits = |name: &str| {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.';
            (1..=64).contains(&name.len()) && name.bytes().all(fits)
        };
        if !fits(&self.cluster) {
            problems.push(format!(
                "`name` of the cluster is {:?}: use 1 to 64 letters, digits, `-`, `_` and `.`",
                self.cluster
            ));
        }
    }

    fn address_problems(&self, problems: &mut Vec<String>) {
        let listen = ("listen_address", &self.listen, true);
        let advertise = self.advertise.as_ref().map(|address| ("advertise_address", address, false));
        let join = self.join.iter().map(|address| ("join", address, false));
        for (key, address, zero) in [Some(listen), advertise].into_iter().flatten().chain(join) {
            if !is_address(address, zero) {
                problems.push(format!("`{key}` is {address:?}: write `host:port`, such as `10.0.0.1:9081`"));
            }
        }
        let anywhere = ["0.0.0.0:", "[::]:"].iter().any(|host| self.listen.starts_with(host));
        if anywhere && self.advertise.is_none() && !self.join.is_empty() {
            problems.push(format!(
                "`listen_address` is {:?}, which nobody can connect to: say with `advertise_address` where others \
                 reach this node",
                self.listen
            ));
        }
        if let Some(http) = self.http.as_deref().filter(|http| !is_url(http)) {
            problems.push(format!(
                "`http_address` is {http:?}: write a base URL, such as `http://10.0.0.1:8081`"
            ));
        }
    }

    fn founder_problems(&self, problems: &mut Vec<String>) {
        match (self.founders.is_empty(), self.join.is_empty()) {
            (true, true) => problems.push(
                "neither `initial_cluster` (or `members`) nor `join` is given: name the members the cluster begins \
                 with, or the addresses of a cluster to join"
                    .to_owned(),
            ),
            (false, false) => problems.push(
                "both `initial_cluster` (or `members`) and `join` are given: a founder does not join, so keep one of \
                 them"
                    .to_owned(),
            ),
            _ => {}
        }
        if self.founders.len() > FOUNDERS_MAX {
            problems.push(format!(
                "`initial_cluster` has {} members: begin with at most {FOUNDERS_MAX}, three or five are usual",
                self.founders.len()
            ));
        }
        match self.node_id {
            None if !self.founders.is_empty() => problems
                .push("`node_id` is missing: say which member of `initial_cluster` this node is".to_owned()),
            Some(id) if !self.founders.is_empty() && !self.founders.contains_key(&id) => {
                problems.push(format!(
                    "`node_id` is {id}, which is not in `initial_cluster`: use one of {:?}",
                    self.founders.keys().collect::<Vec<_>>()
                ))
            }
            Some(id) if self.founders.is_empty() && !self.join.is_empty() => problems.push(format!(
                "`node_id` is {id}, and this node joins: leave it out, the cluster gives the number"
            )),
            _ => {}
        }
        self.founder_entry_problems(problems);
        self.recovery_problems(problems);
    }

    fn recovery_problems(&self, problems: &mut Vec<String>) {
        if self.recover_from.is_empty() {
            return;
        }
        if self.founders.len() != 1 {
            problems.push(
                "`recover_from` is given, and `initial_cluster` is not this node alone: the others join what it begins"
                    .to_owned(),
            );
        }
        if self.path.is_none() {
            problems.push(
                "`recover_from` is given without `persistent_state_path`: say where what is recovered is kept"
                    .to_owned(),
            );
        }
    }

    fn founder_entry_problems(&self, problems: &mut Vec<String>) {
        let mut addresses = BTreeSet::new();
        for (id, member) in &self.founders {
            if !(1..=FOUNDER_ID_MAX).contains(id) {
                problems.push(format!(
                    "`initial_cluster` has the id {id}: number its members from 1 to {FOUNDER_ID_MAX}"
                ));
            }
            if !is_address(&member.raft, false) {
                problems.push(format!(
                    "`initial_cluster` has the address {:?} for {id}: write `host:port` with a fixed port",
                    member.raft
                ));
            }
            if !addresses.insert(&member.raft) {
                problems.push(format!(
                    "`initial_cluster` has the address {:?} twice: each member has its own",
                    member.raft
                ));
            }
        }
    }

    fn lease_problems(&self, problems: &mut Vec<String>) {
        let shortest = self.timing.heartbeat * 2;
        if let Some(lease) = self.lease.filter(|lease| *lease < shortest) {
            problems.push(format!(
                "`lease_duration_ms` is {lease:?}: make it at least {shortest:?}, twice `heartbeat_interval`, or it \
                 ends between two heartbeats"
            ));
        }
    }

    fn limit_problems(&self, problems: &mut Vec<String>) {
        let mut check = |ok: bool, text: &str| {
            if !ok {
                problems.push(text.to_owned());
            }
        };
        check(
            !self.forward_timeout.is_zero(),
            "`forward_timeout` is zero: give the leader some time, such as 5s",
        );
        check(
            (1..=COMMAND_BYTES_MAX).contains(&self.command_bytes_max),
            "`command_bytes_max` is out of range: use 1 to 3145728 (3 MiB)",
        );
        check(self.proposals_max >= 1, "`proposals_max` is 0: allow at least 1");
        check(self.snapshot_every >= 10, "`snapshot_every` is too small: use at least 10 entries");
        if let Durability::Batched { threshold, interval } = self.durability {
            let longest = Duration::from_secs(10);
            check(threshold >= 1, "`flush_policy` has the threshold 0: use at least 1");
            check(
                (Duration::from_millis(1)..=longest).contains(&interval),
                "`flush_policy` has an interval out of range: use 1 ms to 10 s",
            );
        }
    }
}

pub(super) fn wrong(problems: &[String]) -> Error {
    Error::config(format!("the cluster's configuration is wrong:\n- {}", problems.join("\n- ")))
}

/// Whether it is `host:port`. Names are not looked up: they may be known only later.
pub(crate) fn is_address(address: &str, zero: bool) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let port: Option<u16> = port.parse().ok();
        let host_fits = !host.is_empty()
            && !host.contains(['/', ' ', '@'])
            && (!host.contains(':') || host.starts_with('['));
        host_fits && port.is_some_and(|port| zero || port != 0)
    })
}

fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/') && !rest.contains([' ', '@']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Member, Timing};

    fn founder_of_three() -> Config {
        let founders = (1..=3).map(|id| (id, Member::new(format!("n{id}"), format!("10.0.0.{id}:9081"))));
        let config = Config::new("0.0.0.0:9081").node_id(1);
        founders.fold(config, |config, (id, member)| config.founder(id, member))
    }

    #[track_caller]
    fn check(config: &Config, expected: &[&str]) {
        let problems = config.problems();
        assert_eq!(problems.len(), expected.len(), "{problems:#?}");
        for (problem, expected) in problems.iter().zip(expected) {
            assert!(problem.contains(expected), "{problem:?} has no {expected:?}");
        }
    }

    #[test]
    fn a_founder_of_three_and_one_who_joins_are_fine() {
        check(&founder_of_three(), &[]);
        check(&Config::new("[::1]:0").join("10.0.0.1:9081"), &[]);
        for timing in [Timing::DEFAULT, Timing::LAN_FAST, Timing::WAN] {
            check(&founder_of_three().timing(timing), &[]);
        }
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once_each_with_its_key_and_remedy() {
        let mut config = founder_of_three()
            .cluster("a cluster")
            .node_id(4)
            .founder(1000, Member::new("n", "10.0.0.1:9081"))
            .join("somewhere")
            .http("10.0.0.1")
            .lease(Duration::from_millis(100))
            .timing(Timing::new(
                Duration::from_millis(200),
                (Duration::from_millis(150), Duration::from_millis(150)),
            ))
            .durability(Durability::Batched { threshold: 0, interval: Duration::ZERO });
        config.forward_timeout = Duration::ZERO;
        config.command_bytes_max = usize::MAX;
        check(
            &config,
            &[
                "`name` of the cluster",
                "`join` is \"somewhere\": write `host:port`",
                "`listen_address` is \"0.0.0.0:9081\", which nobody can connect to",
                "`http_address` is \"10.0.0.1\": write a base URL",
                "both `initial_cluster` (or `members`) and `join`",
                "`node_id` is 4, which is not in `initial_cluster`",
                "has the id 1000: number its members from 1 to 999",
                "has the address \"10.0.0.1:9081\" twice",
                "`election_timeout` begins at 150ms: it must be at least twice",
                "`election_timeout` ends at 150ms: make it at least a quarter longer",
                "`lease_duration_ms` is 100ms: make it at least 400ms",
                "`forward_timeout` is zero",
                "`command_bytes_max` is out of range",
                "the threshold 0",
                "an interval out of range",
            ],
        );
        let error = config.check().expect_err("it is wrong");
        assert_eq!(error.to_string().lines().count(), 16);
    }

    #[test]
    fn a_node_without_a_place_is_told_how_to_get_one() {
        check(&Config::new("127.0.0.1:0"), &["neither `initial_cluster` (or `members`) nor `join`"]);
        let mut config = founder_of_three();
        config.node_id = None;
        check(&config, &["`node_id` is missing"]);
        check(&Config::new("127.0.0.1:0").join("a:1").node_id(7), &["leave it out"]);
    }

    #[test]
    fn what_is_recovered_is_recovered_by_one_node_to_its_disk() {
        let config = founder_of_three().recover_from("db/1");
        check(&config, &["`initial_cluster` is not this node alone", "without `persistent_state_path`"]);
        let alone = Config::new("10.0.0.1:9081").node_id(1).founder(1, Member::new("n1", "10.0.0.1:9081"));
        check(&alone.persistent("db/new").recover_from("db/1").recover_from("db/2"), &[]);
    }
}
