//! How long a local read takes.
use std::{fmt, time::Duration};

use convoke_cluster::{Cluster, Config, Consistency, Member};
use reqwest::Method;
use tokio::time::Instant;

use crate::nodes::Nodes;

const READS: usize = 2_000;
/// Fewer, as each passes several busy processes.
const READS_OVER_HTTP: usize = 500;
/// Generous: the build is not optimized and other tests run beside it. What is measured is printed.
const OVER_HTTP_AT_MOST: Duration = Duration::from_millis(100);
/// The promise itself.
const IN_PROCESS_AT_MOST: Duration = Duration::from_millis(1);

#[tokio::test]
async fn an_eventual_read_over_http_is_quick() {
    let nodes = Nodes::start().await;
    assert_eq!(nodes.put(0, "k", "v").await.expect("an answer").status, 200);
    let follower = (nodes.settled().await + 1) % 3;
    for consistency in ["eventual", "lease", "linearizable"] {
        let path = format!("/kv/k?consistency={consistency}");
        let mut taken = Vec::new();
        for _ in 0..READS_OVER_HTTP {
            let begun = Instant::now();
            let read = nodes.request(follower, Method::GET, &path).send().await.expect("an answer");
            assert_eq!(read.status(), 200);
            read.bytes().await.expect("its body");
            taken.push(begun.elapsed());
        }
        let taken = Spread::of(taken);
        println!("{consistency} reads of a follower over HTTP, one caller: {taken}");
        assert!(consistency != "eventual" || taken.p50 < OVER_HTTP_AT_MOST, "{taken}");
    }
}

#[tokio::test]
async fn an_eventual_read_within_the_process_takes_less_than_a_millisecond() {
    let port = convoke_testing::servers::free_port().expect("a free port");
    let address = format!("127.0.0.1:{port}");
    let config = Config::new(&*address).node_id(1).founder(1, Member::new("n1", &*address));
    let cluster = Cluster::start(config).await.expect("it starts");
    let kv = cluster.kv();
    kv.put("k", "v").timeout(Duration::from_secs(20)).await.expect("it leads itself");
    let mut taken = Vec::new();
    for _ in 0..READS {
        let begun = Instant::now();
        let read = kv.get("k").consistency(Consistency::Eventual).await.expect("nobody is asked");
        taken.push(begun.elapsed());
        assert_eq!(read.expect("it is there").bytes, "v");
    }
    cluster.shutdown().await;
    let taken = Spread::of(taken);
    println!("eventual reads within the process, one caller: {taken}");
    assert!(taken.p50 < IN_PROCESS_AT_MOST, "{taken}");
}

struct Spread {
    p50: Duration,
    p99: Duration,
}

impl Spread {
    fn of(mut taken: Vec<Duration>) -> Self {
        taken.sort_unstable();
        Self { p50: taken[taken.len() / 2], p99: taken[taken.len() * 99 / 100] }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |duration: Duration| duration.as_nanos() as f64 / 1_000.0;
        write!(f, "p50 {:.1} us, p99 {:.1} us", micros(self.p50), micros(self.p99))
    }
}
