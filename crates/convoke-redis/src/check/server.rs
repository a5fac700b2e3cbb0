//! What a server says of itself, judged.

use std::collections::HashMap;

use convoke_core::{Finding, Profile, Severity};

const VERSION_MIN: (u32, u32) = (7, 0);
/// A replica that was heard of less recently is told of.
const REPLICA_LAG_MAX: u64 = 10;

/// What is asked of `CONFIG GET`, where that is allowed.
pub(super) const SETTINGS: [&str; 2] = ["appendfsync", "min-replicas-to-write"];

/// What is to be judged, and by what.
#[derive(Debug)]
pub(super) struct Server<'a> {
    /// The server, in findings.
    pub(super) about: &'a str,
    /// What `INFO` answered.
    pub(super) info: &'a str,
    /// What `CONFIG GET` answered; none where it is not allowed.
    pub(super) settings: Option<&'a HashMap<String, String>>,
    pub(super) profile: Profile,
    pub(super) fsync_confirmed: bool,
    /// Whether it is meant to be part of a cluster.
    pub(super) cluster: bool,
}

impl Server<'_> {
    pub(super) fn judge(&self) -> Vec<Finding> {
        let mut findings = vec![self.version()];
        findings.extend(self.mode());
        findings.extend(self.role());
        findings.extend(self.eviction());
        findings.extend(self.log());
        findings.extend(self.persistence());
        findings.extend(self.memory());
        if self.profile >= Profile::Ha {
            findings.extend(self.replicas());
        }
        findings
    }

    fn field(&self, name: &str) -> &str {
        let value = self.info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).unwrap_or_default()
    }

    fn found(&self, severity: Severity, found: impl Into<String>) -> Finding {
        Finding::new(severity, self.about, found)
    }

    fn version(&self) -> Finding {
        const MIN: &str = "7.0 or later";
        let version = self.field("redis_version");
        match parse_version(version) {
            Some(number) if number < VERSION_MIN => self
                .found(Severity::Error, format!("this is version {version}"))
                .expected(MIN)
                .remedy("update it"),
            Some(_) => self.found(Severity::Fine, format!("version {version}")),
            None => self.found(Severity::Warning, "the server does not tell its version").expected(MIN),
        }
    }

    fn mode(&self) -> Option<Finding> {
        match (self.field("redis_mode"), self.cluster) {
            ("cluster", false) => Some(
                self.found(Severity::Error, "the server is part of a cluster")
                    .remedy("set `cluster` or name several of its nodes"),
            ),
            ("standalone", true) => Some(
                self.found(Severity::Error, "`cluster` is set, but the server is not part of one")
                    .remedy("name a node of the cluster, or leave `cluster` out"),
            ),
            ("cluster", true) => Some(self.found(Severity::Fine, "part of a cluster")),
            _ => None,
        }
    }

    fn role(&self) -> Option<Finding> {
        // in a cluster the client finds the primary by itself
        (self.field("role") == "slave" && !self.cluster).then(|| {
            self.found(Severity::Error, "the server is a replica")
                .expected("the primary")
                .remedy("name the primary: a replica takes no writes")
        })
    }

    fn eviction(&self) -> Option<Finding> {
        match self.field("maxmemory_policy") {
            "" => None,
            "noeviction" => Some(self.found(Severity::Fine, "maxmemory-policy is noeviction")),
            policy => Some(
                self.found(self.profile.refuses_from(Profile::Ha), format!("maxmemory-policy is {policy}"))
                    .expected("noeviction")
                    .remedy("claims may be evicted and commands run twice; set maxmemory-policy noeviction"),
            ),
        }
    }

    /// The log on disk, and how soon it is there.
    fn log(&self) -> Option<Finding> {
        match self.field("aof_enabled") {
            "" => return None,
            "0" => {
                return Some(
                    self.found(self.profile.refuses_from(Profile::Ha), "appendonly is no")
                        .expected("yes")
                        .remedy("a restart of Redis forgets what was done; set appendonly yes"),
                );
            }
            _ => {}
        }
        let Some(fsync) = self.settings.and_then(|settings| settings.get("appendfsync")) else {
            return Some(self.unseen_fsync());
        };
        let found = format!("appendonly is yes, appendfsync is {fsync}");
        Some(match (self.profile, fsync.as_str()) {
            (_, "always") | (Profile::Fast, _) | (Profile::Ha, "everysec") => {
                self.found(Severity::Fine, found)
            }
            (Profile::Strict, _) => self
                .found(Severity::Error, found)
                .expected("always")
                .remedy("a power failure loses what was confirmed last; set appendfsync always"),
            (Profile::Ha, _) => self
                .found(Severity::Warning, found)
                .expected("everysec or always")
                .remedy("a power failure loses up to half a minute"),
        })
    }

    /// Hosted servers often refuse `CONFIG`: then the operator says how it is.
    fn unseen_fsync(&self) -> Finding {
        let unseen = "appendonly is yes, appendfsync cannot be seen: CONFIG GET is not allowed to this user";
        if self.fsync_confirmed {
            return self.found(Severity::Fine, "appendfsync is always, as the configuration says");
        }
        let severity = match self.profile {
            Profile::Fast => return self.found(Severity::Fine, unseen),
            Profile::Ha => Severity::Warning,
            Profile::Strict => Severity::Error,
        };
        self.found(severity, unseen).expected("always, and seen or confirmed").remedy(
            "allow `+config|get`, or set appendfsync always and then `fsync_confirmed = true` in the Redis configuration",
        )
    }

    fn persistence(&self) -> Vec<Finding> {
        let last = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"];
        let failed = last.into_iter().filter(|name| !matches!(self.field(name), "" | "ok"));
        failed
            .map(|name| {
                self.found(
                    self.profile.refuses_from(Profile::Strict),
                    format!("{name} is {}", self.field(name)),
                )
                .expected("ok")
                .remedy("look at the Redis server's log and its disk; it may refuse writes")
            })
            .collect()
    }

    fn memory(&self) -> Option<Finding> {
        let number = |name| self.field(name).parse::<u64>().ok();
        let (used, most) = (number("used_memory")?, number("maxmemory").filter(|most| *most > 0)?);
        (used / 9 >= most / 10).then(|| {
            self.found(Severity::Warning, format!("{used} of {most} bytes of memory are used"))
                .expected("below 90 %")
                .remedy("raise maxmemory before it is reached; then commands are refused")
        })
    }

    fn replicas(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if self.field("connected_slaves") == "0" {
            findings.push(
                self.found(Severity::Warning, "there is no replica")
                    .expected("one or more")
                    .remedy("what this server knows is away while it is away"),
            );
            return findings;
        }
        let least = self.settings.and_then(|settings| settings.get("min-replicas-to-write"));
        if least.is_some_and(|least| least == "0") {
            findings.push(
                self.found(Severity::Warning, "min-replicas-to-write is 0").expected("1 or more").remedy(
                    "a primary that is cut off goes on and loses what it confirmed; set min-replicas-to-write 1",
                ),
            );
        }
        findings.extend(self.late_replicas());
        findings
    }

    /// Lines such as `slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=1`.
    fn late_replicas(&self) -> Vec<Finding> {
        let lines = self.info.lines().filter_map(|line| {
            let (name, rest) = line.trim().strip_prefix("slave")?.split_once(':')?;
            name.bytes().all(|byte| byte.is_ascii_digit()).then_some(rest)
        });
        lines
            .filter_map(|line| {
                let part =
                    |name: &str| line.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
                let lag: u64 = part("lag")?.parse().ok()?;
                let late = part("state") != Some("online") || lag > REPLICA_LAG_MAX;
                late.then(|| {
                    let (ip, port) = (part("ip").unwrap_or("?"), part("port").unwrap_or("?"));
                    self.found(
                        Severity::Warning,
                        format!("the replica {ip}:{port} is {lag} s behind or away"),
                    )
                    .expected(format!("online, and heard of within {REPLICA_LAG_MAX} s"))
                    .remedy("look at that server; a fail-over to it loses what it does not have")
                })
            })
            .collect()
    }
}

fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "redis_version:7.0.15\r\nredis_mode:standalone\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n\
         aof_enabled:1\r\naof_last_write_status:ok\r\nused_memory:500\r\nmaxmemory:1000\r\nconnected_slaves:1\r\n\
         slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n";

    /// What is not fine in `GOOD` after a change, under each profile.
    fn complaints(from: &str, to: &str, fsync: Option<&str>, cluster: bool) -> [Vec<Finding>; 3] {
        assert!(GOOD.contains(from), "{from}");
        let info = GOOD.replace(from, to);
        let settings = fsync.map(|fsync| {
            let pairs = [("appendfsync", fsync), ("min-replicas-to-write", "1")];
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
        });
        Profile::ALL.map(|profile| {
            let (settings, info) = (settings.as_ref(), info.as_str());
            let server = Server { about: "redis", info, settings, profile, fsync_confirmed: false, cluster };
            server.judge().into_iter().filter(|finding| finding.severity > Severity::Fine).collect()
        })
    }

    /// One complaint that holds the text, or none where the severity is `Fine`.
    #[track_caller]
    fn check(found: [Vec<Finding>; 3], severities: [Severity; 3], text: &str) {
        for (found, severity) in found.iter().zip(severities) {
            let worst = found.iter().map(|finding| finding.severity).max().unwrap_or(Severity::Fine);
            assert_eq!(worst, severity, "{found:?}");
            assert!(found.iter().all(|finding| finding.to_string().contains(text)), "{found:?}");
        }
    }

    use Severity::{Error, Fine, Warning};

    #[test]
    fn a_good_server_is_fine_under_every_profile() {
        check(complaints("", "", Some("always"), false), [Fine; 3], "");
    }

    #[test]
    fn what_no_profile_accepts() {
        let always = Some("always");
        check(complaints("7.0.15", "6.2.14", always, false), [Error; 3], "version 6.2.14, expected is 7.0");
        check(complaints("standalone", "cluster", always, false), [Error; 3], "set `cluster`");
        check(complaints("", "", always, true), [Error; 3], "not part of one");
        check(complaints("role:master", "role:slave", always, false), [Error; 3], "a replica");
        check(complaints("redis_version", "other", always, false), [Warning; 3], "does not tell its version");
    }

    #[test]
    fn what_a_stronger_profile_refuses() {
        let always = Some("always");
        let lru = complaints("noeviction", "allkeys-lru", always, false);
        check(lru, [Warning, Error, Error], "maxmemory-policy is allkeys-lru, expected is noeviction");
        check(
            complaints("aof_enabled:1", "aof_enabled:0", always, false),
            [Warning, Error, Error],
            "appendonly",
        );
        check(complaints("", "", Some("everysec"), false), [Fine, Fine, Error], "appendfsync is everysec");
        check(complaints("", "", Some("no"), false), [Fine, Warning, Error], "appendfsync is no");
        check(complaints("", "", None, false), [Fine, Warning, Error], "fsync_confirmed");
        let failed = complaints("write_status:ok", "write_status:err", always, false);
        check(failed, [Warning, Warning, Error], "aof_last_write_status is err");
    }

    #[test]
    fn memory_and_replicas_are_warned_of() {
        let always = Some("always");
        check(complaints("used_memory:500", "used_memory:900", always, false), [Warning; 3], "900 of 1000");
        let alone = complaints("connected_slaves:1", "connected_slaves:0", always, false);
        check(alone, [Fine, Warning, Warning], "there is no replica");
        let late = complaints("lag=0", "lag=11", always, false);
        check(late, [Fine, Warning, Warning], "10.0.0.2:6379 is 11 s behind");
        let away = complaints("state=online", "state=wait_bgsave", always, false);
        check(away, [Fine, Warning, Warning], "10.0.0.2:6379");
    }

    #[test]
    fn what_cannot_be_seen_may_be_confirmed() {
        let server = Server {
            about: "redis",
            info: GOOD,
            settings: None,
            profile: Profile::Strict,
            fsync_confirmed: true,
            cluster: false,
        };
        assert!(server.judge().iter().all(|finding| finding.severity == Severity::Fine));
    }
}
