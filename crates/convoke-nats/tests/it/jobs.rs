//! Enqueued commands: stored until one node of the service has handled them.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use convoke_core::{Audience, NodeIdentity, Settled, Transport as _, TransportErrorKind};
use convoke_nats::Transport;
use convoke_testing::eventually;
use tokio::time::Instant;

use crate::support::{
    Recorder, command, config, connect, consume, identity, node, server, soon, stored, try_consume, up,
};

const PLACE: &str = "orders.place.v1";
const SHIP: &str = "orders.ship.v1";

fn later(delay: Duration) -> Option<SystemTime> {
    Some(SystemTime::now() + delay)
}

async fn enqueue(node: &Transport, name: &'static str, content: &str, due: Option<SystemTime>) {
    node.enqueue(command(name, content), due, soon(10)).await.expect("it is stored");
}

async fn handle(node: &Transport, names: &[&'static str], recorder: &Arc<Recorder>) {
    consume(node, Audience::Jobs, names, recorder.clone()).await;
}

#[tokio::test]
async fn jobs_survive_a_restart_of_the_server_while_nobody_handles_them() {
    let Some(server) = server("jobs survive").await else { return };
    let caller = node(&server.url(), "caller").await;
    for n in 0..10 {
        enqueue(&caller, PLACE, &n.to_string(), None).await;
    }
    enqueue(&caller, PLACE, "overdue by then", later(Duration::from_millis(200))).await;
    enqueue(&caller, PLACE, "due after that", later(Duration::from_secs(4))).await;
    caller.leave(soon(5)).await;
    caller.close(soon(5)).await;
    server.kill();
    server.restart().await.expect("it comes back");
    let (one, seen) = (node(&server.url(), "n1").await, Recorder::new());
    handle(&one, &[PLACE], &seen).await;
    seen.has_seen(12).await;
    eventually("nothing is left", || async {
        let left = (stored(&server, "CONVOKE_JOBS").await, stored(&server, "CONVOKE_SCHEDULE").await);
        if left == (0, 0) { Ok(()) } else { Err(left) }
    })
    .await;
    assert!(seen.counts().values().all(|count| *count == 1), "{:?}", seen.counts());
}

#[tokio::test]
async fn a_delayed_job_comes_within_a_second_of_its_time() {
    let Some(server) = server("delayed jobs").await else { return };
    let (one, seen) = (node(&server.url(), "n1").await, Recorder::new());
    handle(&one, &[PLACE], &seen).await;
    let started = Instant::now();
    for tenths in [20, 5, 12] {
        enqueue(&one, PLACE, &tenths.to_string(), later(Duration::from_millis(tenths * 100))).await;
    }
    seen.has_seen(3).await;
    assert_eq!(seen.texts(), ["5", "12", "20"]);
    for (incoming, tenths) in seen.seen.lock().expect("not poisoned").iter().zip([5, 12, 20]) {
        let late = (incoming.received - started).as_secs_f64() - f64::from(tenths) / 10.0;
        assert!((-0.05..1.0).contains(&late), "{late} s late");
    }
}

#[tokio::test]
async fn a_time_beyond_the_servers_clock_is_refused_and_not_due_at_once() {
    let Some(server) = server("far future").await else { return };
    let one = node(&server.url(), "n1").await;
    let year_2400 = UNIX_EPOCH + Duration::from_secs(430 * 366 * 24 * 60 * 60);
    let error = one.enqueue(command(PLACE, "x"), Some(year_2400), soon(5)).await.expect_err("too far");
    assert_eq!(error.kind(), TransportErrorKind::Refused, "{error}");
    enqueue(&one, PLACE, "x", later(Duration::from_secs(100 * 365 * 24 * 60 * 60))).await;
    assert_eq!(stored(&server, "CONVOKE_SCHEDULE").await, 1);
}

#[tokio::test]
async fn what_finds_no_room_is_refused_at_once_and_nothing_is_dropped() {
    let Some(server) = server("full of jobs").await else { return };
    let small = config(&server.url()).jobs(|jobs| {
        jobs.waiting_max = 3;
        jobs.scheduled_max = 2;
    });
    let one = Transport::connect_with(small).await.expect("a good configuration");
    one.open(&identity("n1")).await.expect("it opens");
    let due = later(Duration::from_secs(3));
    for (due, room) in [(None, 3), (due, 2)] {
        for n in 0..room {
            enqueue(&one, PLACE, &format!("{n} {}", due.is_some()), due).await;
        }
        let started = Instant::now();
        let error = one.enqueue(command(PLACE, "no room"), due, soon(30)).await.expect_err("it is full");
        assert_eq!(error.kind(), TransportErrorKind::Unavailable, "{error}");
        assert!(error.to_string().contains("full"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(2), "it does not wait: {:?}", started.elapsed());
    }
    let seen = Recorder::new();
    handle(&one, &[PLACE], &seen).await;
    seen.has_seen(5).await;
    enqueue(&one, PLACE, "room again", None).await;
    seen.has_seen(6).await;
    assert!(!seen.counts().contains_key("no room"), "{:?}", seen.counts());
}

#[tokio::test]
async fn a_job_larger_than_the_limit_is_refused() {
    let Some(server) = server("large job").await else { return };
    let small = config(&server.url()).jobs(|jobs| jobs.job_bytes_max = 1000);
    let one = Transport::connect_with(small).await.expect("a good configuration");
    one.open(&identity("n1")).await.expect("it opens");
    let large = "x".repeat(2000);
    for due in [None, later(Duration::from_secs(60))] {
        let error = one.enqueue(command(PLACE, &large), due, soon(5)).await.expect_err("too large");
        assert_eq!(error.kind(), TransportErrorKind::TooLarge, "{error}");
    }
}

#[tokio::test]
async fn a_node_that_leaves_gives_its_jobs_to_the_others_at_once() {
    let Some(server) = server("jobs handed over").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let stuck = Recorder::settling(|_| Box::pin(std::future::pending()));
    handle(&one, &[PLACE], &stuck).await;
    for n in 0..100 {
        enqueue(&two, PLACE, &n.to_string(), None).await; // more than may be in flight
    }
    stuck.has_seen(32).await; // half of the bound; the other half is for those that had to wait for their time
    let others = Recorder::new();
    handle(&two, &[PLACE], &others).await;
    let report = one.leave(soon(1)).await;
    assert_eq!(report.lost, 32);
    let left = Instant::now();
    one.close(soon(5)).await;
    others.has_seen(100).await;
    assert!(left.elapsed() < Duration::from_millis(1500), "the ack wait is 2 s: {:?}", left.elapsed());
}

#[tokio::test]
async fn a_job_that_takes_longer_than_the_ack_wait_stays_with_its_node() {
    let Some(server) = server("long jobs").await else { return };
    let (one, two) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await); // their ack wait is 2 s
    let slow = || {
        Recorder::settling(|_| {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Settled::Done
            })
        })
    };
    let recorders = [slow(), slow()];
    handle(&one, &[PLACE], &recorders[0]).await;
    for n in 0..10 {
        enqueue(&one, PLACE, &n.to_string(), None).await;
    }
    recorders[0].has_seen(10).await;
    handle(&two, &[PLACE], &recorders[1]).await; // only now: what would be delivered again is shared by both
    eventually("all are settled", || async {
        let left = stored(&server, "CONVOKE_JOBS").await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    let seen = recorders.map(|seen| seen.texts().len());
    assert_eq!(seen, [10, 0], "once each");
}

#[tokio::test]
async fn a_command_that_two_services_handle_is_refused_with_a_sentence() {
    let Some(server) = server("two services").await else { return };
    let one = node(&server.url(), "n1").await;
    handle(&one, &[PLACE, SHIP], &Recorder::new()).await;
    let other = connect(&server.url()).await;
    let identity = NodeIdentity { service: "shipping".to_owned(), ..identity("n2") };
    other.open(&identity).await.expect("it opens");
    let error =
        try_consume(&other, Audience::Jobs, &[SHIP], Recorder::new()).await.expect_err("two handlers");
    assert_eq!(error.kind(), TransportErrorKind::Refused);
    let text = error.to_string();
    assert!(text.contains("another service than shipping") && text.contains(SHIP), "{text}");
    up(&one).await;
}

#[tokio::test]
async fn an_older_node_leaves_a_command_it_does_not_know_to_a_newer_one() {
    let Some(server) = server("two versions").await else { return };
    let (older, newer) = (node(&server.url(), "n1").await, node(&server.url(), "n2").await);
    let (old, new) = (Recorder::new(), Recorder::new());
    handle(&older, &[PLACE], &old).await;
    handle(&newer, &[PLACE, SHIP], &new).await; // the consumer, which they share, gets both from now on
    for n in 0..40 {
        enqueue(&older, SHIP, &n.to_string(), None).await;
    }
    new.has_seen(40).await;
    assert_eq!(old.texts(), Vec::<String>::new());
}
