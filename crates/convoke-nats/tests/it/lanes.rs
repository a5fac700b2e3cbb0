//! Whose the lanes of a group are.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_nats::jetstream::{self, consumer};
use convoke_core::{Audience, Outgoing, Settled, Transport as _, lane_of};
use convoke_nats::Transport;
use convoke_testing::{eventually, eventually_within, proxy::TcpProxy};
use futures_util::StreamExt;
use tokio::sync::watch;

use crate::support::{Recorder, config, consume, event, identity, node, server, soon};

const PLACED: &str = "orders.placed.v1";
const SHIPPED: &str = "orders.shipped.v1";
const KEYS: usize = 32;

fn billing() -> Audience {
    Audience::Group("billing".to_owned())
}

fn keyed(name: &'static str, key: usize, n: usize) -> Outgoing {
    Outgoing { lane: lane_of(&format!("key-{key}")), ..event(name, &format!("{key}:{n}")) }
}

async fn publish(node: &Transport, range: std::ops::Range<usize>) {
    for n in range {
        for key in 0..KEYS {
            node.publish(keyed(PLACED, key, n), soon(10)).await.expect("it is stored");
        }
    }
}

/// The numbers that were handed over, by key.
fn by_key(seen: &Recorder) -> BTreeMap<usize, Vec<usize>> {
    let mut by_key = BTreeMap::<usize, Vec<usize>>::new();
    for text in seen.texts() {
        let (key, n) = text.split_once(':').expect("a key and a number");
        by_key.entry(key.parse().expect("a key")).or_default().push(n.parse().expect("a number"));
    }
    by_key
}

/// A later event never comes before an earlier one that was not there yet: what is handled by a claim each, by
/// several nodes that all see such a sequence, is handled in order.
#[track_caller]
fn has_no_gaps(who: &str, seen: &Recorder) {
    for (key, numbers) in by_key(seen) {
        for pair in numbers.windows(2) {
            assert!(pair[1] <= pair[0] + 1, "{who} saw a gap in key {key}: {numbers:?}");
        }
    }
}

async fn consumers(url: &str) -> Vec<String> {
    let client = async_nats::connect(url).await.expect("a client");
    let stream = jetstream::new(client).get_stream("CONVOKE_EVENTS").await.expect("a stream");
    stream.consumer_names().map(|name| name.expect("a name")).collect().await
}

/// A consumer of each span and one more.
async fn has_seventeen_consumers(url: &str) {
    eventually("there is a consumer for each span and one for what has no key", || async {
        let consumers = consumers(url).await;
        if consumers.len() == 17 { Ok(()) } else { Err(consumers) }
    })
    .await;
}

#[tokio::test]
async fn a_member_that_was_cut_off_and_comes_back_disturbs_no_order() {
    let Some(server) = server("cut off").await else { return };
    let proxy = TcpProxy::to_port(server.port()).await.expect("a proxy");
    let url = format!("nats://{}", proxy.address());
    let cut_off = Transport::connect_with(config(&url)).await.expect("a good configuration");
    cut_off.open(&identity("n1")).await.expect("it opens");
    let publisher = node(&server.url(), "publisher").await;
    let (open, gate) = watch::channel(false);
    let stuck = Recorder::settling(move |_| {
        let mut gate = gate.clone();
        Box::pin(async move {
            gate.wait_for(|open| *open).await.expect("the test goes on");
            Settled::Done
        })
    });
    consume(&cut_off, billing(), &[PLACED], stuck.clone()).await;
    publish(&publisher, 0..2).await;
    stuck.has_seen(KEYS).await;
    proxy.blackhole(); // what it has in hand stays there, and what is sent to it now lies in the link
    publish(&publisher, 2..4).await;
    let (second, seen) = (node(&server.url(), "n2").await, Recorder::new());
    consume(&second, billing(), &[PLACED], seen.clone()).await;
    seen.has_seen(4 * KEYS).await; // also what the first one has in hand
    has_no_gaps("the second member", &seen);
    proxy.heal();
    open.send_replace(true);
    publish(&publisher, 4..6).await;
    eventually("both share the lanes again", || async {
        publish_once(&publisher).await;
        let later = |seen: &Recorder| by_key(seen).values().flatten().filter(|n| **n >= 6).count();
        if later(&stuck) > 0 && later(&seen) > 0 { Ok(()) } else { Err((later(&stuck), later(&seen))) }
    })
    .await;
    has_no_gaps("the second member", &seen);
    has_seventeen_consumers(&server.url()).await;
}

/// One more event for each key, with numbers that go on.
async fn publish_once(publisher: &Transport) {
    static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(6);
    let next = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    publish(publisher, next..next + 1).await;
}

#[tokio::test]
async fn the_lanes_of_an_older_versions_group_go_on_where_it_was() {
    let Some(server) = server("older group").await else { return };
    let one = node(&server.url(), "n1").await;
    let client = async_nats::connect(server.url()).await.expect("a client");
    let stream = jetstream::new(client).get_stream("CONVOKE_EVENTS").await.expect("a stream");
    let older = consumer::pull::Config {
        durable_name: Some("orders__group__billing".to_owned()),
        filter_subjects: vec!["convoke.evt.*.orders.placed.v1".to_owned()],
        ack_policy: consumer::AckPolicy::Explicit,
        ack_wait: Duration::from_secs(2),
        max_deliver: -1,
        max_ack_pending: 1000,
        ..Default::default()
    };
    let older = stream.create_consumer(older).await.expect("the consumer of an older version");
    publish(&one, 0..3).await;
    let mut handled = older.fetch().max_messages(KEYS + 4).messages().await.expect("messages");
    for n in 0..KEYS + 4 {
        let message = handled.next().await.expect("a message").expect("a good one");
        if n < KEYS {
            message.double_ack().await.expect("acknowledged"); // the others stay in hand
        }
    }
    let seen = Recorder::new();
    consume(&one, billing(), &[PLACED], seen.clone()).await;
    seen.has_seen(2 * KEYS).await;
    publish(&one, 3..4).await;
    seen.has_seen(3 * KEYS).await;
    for (key, numbers) in by_key(&seen) {
        assert_eq!(numbers, [1, 2, 3], "key {key}: what was acknowledged does not come again, all else does");
    }
    has_seventeen_consumers(&server.url()).await;
}

#[tokio::test]
async fn a_newer_member_brings_its_names_and_an_older_one_loses_nothing() {
    let Some(server) = server("two versions").await else { return };
    let (older, newer) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let (of_older, of_newer) = (Recorder::new(), Recorder::new());
    consume(&older, billing(), &[PLACED], of_older.clone()).await;
    publish(&older, 0..1).await;
    of_older.has_seen(KEYS).await;
    consume(&newer, billing(), &[PLACED, SHIPPED], of_newer.clone()).await;
    for key in 0..KEYS {
        newer.publish(keyed(SHIPPED, key, 7), soon(10)).await.expect("it is stored");
    }
    let shipped = |seen: &Recorder| by_key(seen).values().filter(|numbers| numbers.contains(&7)).count();
    older.leave(soon(5)).await; // what it has no handler for waits for the one who has
    eventually("every key was shipped", || async {
        if shipped(&of_newer) == KEYS { Ok(()) } else { Err(shipped(&of_newer)) }
    })
    .await;
    assert_eq!(shipped(&of_older), 0);
}

#[tokio::test]
async fn many_joins_leave_one_consumer_for_each_span() {
    let Some(server) = server("many joins").await else { return };
    let mut members = Vec::new();
    for n in 0..5 {
        let member = node(&server.url(), &format!("n{n}")).await;
        consume(&member, billing(), &[PLACED], Recorder::new()).await;
        members.push(member);
    }
    let last = members.pop().expect("there are five");
    for member in members {
        assert_eq!(member.leave(soon(5)).await.lost, 0);
    }
    let _last = Arc::clone(&last);
    has_seventeen_consumers(&server.url()).await;
}

/// Where a copy of this test program is told to be a member, and under which name.
#[cfg(target_os = "linux")]
const MEMBER: [&str; 2] = ["CONVOKE_TEST_MEMBER_OF", "CONVOKE_TEST_MEMBER"];
#[cfg(target_os = "linux")]
const HAS_WORK: &str = "the member has work";

/// A member in a process of its own; killed when it is dropped.
#[cfg(target_os = "linux")]
struct Process {
    child: std::process::Child,
    has_work: watch::Receiver<bool>,
}

#[cfg(target_os = "linux")]
impl Process {
    fn start(url: &str, name: &str, test: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut child = std::process::Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .envs([(MEMBER[0], url), (MEMBER[1], name)])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("it starts");
        let (tell, has_work) = watch::channel(false);
        let lines = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
        std::thread::spawn(move || {
            use std::io::BufRead;
            for line in lines.lines().map_while(Result::ok) {
                tell.send_if_modified(|told| !std::mem::replace(told, *told || line.contains(HAS_WORK)));
            }
        });
        Self { child, has_work }
    }

    /// Returns when it has taken effect: a stop does when one of its threads has had a processor.
    async fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([signal, &pid]).status().expect("`kill` runs");
        assert!(sent.success(), "{signal}");
        eventually("all its threads stand still", || async { self.stands_still() }).await;
    }

    /// Whether each of its threads is stopped or dead.
    fn stands_still(&self) -> bool {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.child.id())) else { return true };
        threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
            state.is_none_or(|state| ['T', 'Z', 'X'].contains(&state))
        })
    }
}

#[cfg(target_os = "linux")]
impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Is done with each event, and says once that it got one.
#[cfg(target_os = "linux")]
async fn be_a_member(url: &str) {
    let name = std::env::var(MEMBER[1]).expect("it has a name");
    let member = node(url, &name).await;
    let seen = Recorder::new();
    consume(&member, billing(), &[PLACED], seen.clone()).await;
    seen.has_seen(1).await;
    println!("{HAS_WORK}");
    std::future::pending().await
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_lanes_of_a_stopped_and_of_a_killed_process_are_read_by_others_within_five_seconds() {
    if let Ok(url) = std::env::var(MEMBER[0]) {
        return be_a_member(&url).await;
    }
    let test = "lanes::the_lanes_of_a_stopped_and_of_a_killed_process_are_read_by_others_within_five_seconds";
    let Some(server) = server("stopped process").await else { return };
    let (alive, seen) = (node(&server.url(), "n1").await, Recorder::new());
    consume(&alive, billing(), &[PLACED], seen.clone()).await;
    let mut next = 0;
    for (name, signal) in [("n2", "-STOP"), ("n3", "-KILL")] {
        let process = Process::start(&server.url(), name, test);
        while !*process.has_work.borrow() {
            publish(&alive, next..next + 1).await;
            next += 1;
            assert!(next < 3000, "the process has a share of the lanes");
        }
        process.signal(signal).await;
        let gone = std::time::Instant::now();
        publish(&alive, next..next + 1).await;
        let wanted = next;
        next += 1;
        eventually_within(Duration::from_secs(5), "others read its lanes", || async {
            let there = by_key(&seen).values().filter(|numbers| numbers.contains(&wanted)).count();
            if there == KEYS { Ok(()) } else { Err(there) }
        })
        .await;
        println!("after {signal} the lanes were read again after {:?}", gone.elapsed());
    }
}
