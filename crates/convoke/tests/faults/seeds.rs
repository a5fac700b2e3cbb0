//! A seed is printed, and repeats its faults.
use std::{env, process::Command, time::Duration};

use convoke_testing::{Faults, SEED_VARIABLE, TestApp};

use super::service::{Noted, World, app};

async fn faults_of(seed: u64) -> Vec<String> {
    let faults = Faults::from_seed(seed).drop(0.2).duplicate(0.2).delay(0.2, Duration::from_millis(40));
    let app = TestApp::of(app(&World::default())).faults(faults).start().await;
    for step in 0..40 {
        let _ = app.publish(Noted { step }).await; // some are dropped
    }
    app.settled().await;
    let mut faults = app.faults();
    faults.sort();
    faults
}

#[tokio::test(start_paused = true)]
async fn a_seed_repeats_its_faults_and_another_one_makes_others() {
    let first = faults_of(11).await;
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(faults_of(11).await, first);
    assert_ne!(faults_of(12).await, first);
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_faults_than_allowed() {
    let faults = Faults::from_seed(13).drop(1.0).at_most(3);
    let app = TestApp::of(app(&World::default())).faults(faults).start().await;
    for step in 0..10 {
        let _ = app.publish(Noted { step }).await;
    }
    app.settled().await;
    assert_eq!(app.faults().len(), 3);
}

#[tokio::test(start_paused = true)]
#[ignore = "it fails: the test below runs it"]
async fn fails_on_purpose() {
    let app = TestApp::of(app(&World::default())).faults(Faults::seeded().duplicate(1.0)).start().await;
    app.publish(Noted { step: 1 }).await.unwrap();
    app.settled().await;
    panic!("as it should");
}

#[test]
fn a_failing_test_prints_its_seed_its_faults_and_how_to_repeat_it() {
    let run = |seed: Option<&str>| {
        let mut test = Command::new(env::current_exe().unwrap());
        test.args(["--exact", "seeds::fails_on_purpose", "--ignored"]).env_remove(SEED_VARIABLE);
        let output = test.envs(seed.map(|seed| (SEED_VARIABLE, seed))).output().unwrap();
        assert!(!output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = run(None);
    let (_, command) = printed.split_once("to repeat: CONVOKE_SEED=").unwrap();
    let (seed, test) = command.lines().next().unwrap().split_once(" cargo test ").unwrap();
    assert_eq!(test, "seeds::fails_on_purpose");
    assert!(printed.contains("delivery of faults.noted.v1 #1"), "{printed}");
    assert!(run(Some(seed)).contains(&format!("seed {seed};")));
}
