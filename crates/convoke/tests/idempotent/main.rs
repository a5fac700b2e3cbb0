//! `assert_idempotent`: a handler that may run again passes, and one that may not is caught where it goes wrong.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod service;

use std::panic::{AssertUnwindSafe, catch_unwind};

use convoke::App;
use convoke_testing::{Subject, assert_idempotent};

use service::{
    Ask, Bank, Mailed, Order, Paid, Refuse, announce, ask, book_twice, charge, counts, mail, mail_once, pay,
    pay_anew, pay_in_two_steps, pay_under_its_id, pay_with_a_stamp, refuse, wait_and_book,
};

fn subject(handlers: fn(App) -> App) -> Subject<Bank> {
    let app = move |bank: &Bank| handlers(App::new("shop").node("n1").state(bank.clone()));
    Subject::new(Bank::default, app).probe(async |bank| bank.rows())
}

/// What the assertion says.
fn caught(handlers: fn(App) -> App) -> String {
    let tried = catch_unwind(AssertUnwindSafe(|| assert_idempotent(subject(handlers), Order { cents: 5 })));
    *tried.expect_err("it passes").downcast::<String>().unwrap()
}

#[test]
fn what_is_stored_under_the_messages_id_may_run_again() {
    assert_idempotent(subject(|app| app.function(pay_under_its_id)), Order { cents: 5 });
}

#[test]
fn an_event_and_what_it_leads_to_may_come_again() {
    assert_idempotent(subject(|app| app.function(charge).function(mail_once)), Paid { cents: 5 });
}

#[test]
fn a_refusal_is_an_outcome() {
    assert_idempotent(subject(|app| app.function(refuse)), Refuse);
}

#[test]
fn a_row_with_an_id_of_its_own_is_caught_behind_the_write() {
    let text = caught(|app| app.function(pay_anew));
    assert!(text.starts_with("`shop.order.v1` is not idempotent"), "{text}");
    assert!(text.lines().next().unwrap().contains("`insert row`"), "{text}");
    assert!(text.lines().next().unwrap().contains("the node dies after call "), "{text}");
    assert!(text.contains("+ "), "{text}");
}

#[test]
fn of_two_steps_the_one_that_does_not_repeat_is_named() {
    let text = caught(|app| app.function(pay_in_two_steps));
    let first = text.lines().next().unwrap();
    assert!(first.contains("after call ") && first.contains("`add to the balance`"), "{text}");
    assert!(text.contains("-     \"balance 5\"") && text.contains("+     \"balance 10\""), "{text}");
}

#[test]
fn a_wait_is_a_place_to_die_without_any_step() {
    let text = caught(|app| app.function(wait_and_book));
    let first = text.lines().next().unwrap();
    assert!(first.contains("`await in ") && first.contains("wait_and_book"), "{text}");
}

#[test]
fn an_event_that_is_published_around_the_outcome_is_counted() {
    let text = caught(|app| app.function(announce));
    assert!(text.contains("- published `shop.paid.v1`: 1 messages"), "{text}");
    assert!(text.contains("+ published `shop.paid.v1`: 2 messages"), "{text}");
}

#[test]
fn another_content_under_the_same_id_is_seen() {
    let text = caught(|app| app.function(pay_with_a_stamp));
    assert!(text.contains("with 2 different contents under their ids"), "{text}");
}

#[test]
fn a_handler_down_the_line_counts_as_well() {
    let text = caught(|app| app.function(pay).function(mail));
    let first = text.lines().next().unwrap();
    assert!(first.contains("`send mail`"), "{text}");
}

#[test]
fn a_view_that_counts_is_caught_when_it_sees_an_event_twice() {
    let tried = catch_unwind(|| assert_idempotent(subject(|app| app.function(counts)), Mailed));
    let text = *tried.expect_err("it passes").downcast::<String>().unwrap();
    assert!(text.lines().next().unwrap().ends_with("when it is delivered twice"), "{text}");
}

#[test]
fn what_cannot_be_tried_is_told() {
    let text = caught(|app| app);
    assert_eq!(text, "nothing handled `shop.order.v1`: is its handler registered with the app?");
    let text = caught(|app| app.function(book_twice));
    assert!(text.starts_with("`shop.order.v1` fails without any death: dead letter"), "{text}");
    let asked = catch_unwind(|| assert_idempotent(subject(|app| app.function(ask)), Ask));
    let text = *asked.expect_err("it passes").downcast::<String>().unwrap();
    assert_eq!(text, "`shop.ask.v1` is a query: it has no effects to repeat");
    let random =
        Subject::new(Bank::default, |bank: &Bank| App::new("shop").state(bank.clone()).function(pay));
    let random = random.probe(async |_| uuid::Uuid::now_v7());
    let tried = catch_unwind(AssertUnwindSafe(|| assert_idempotent(random, Order { cents: 5 })));
    let text = *tried.expect_err("it passes").downcast::<String>().unwrap();
    assert!(text.starts_with("two runs without a death differ: leave out of the probe"), "{text}");
}

#[tokio::test]
async fn it_may_be_called_where_a_runtime_runs() {
    assert_idempotent(subject(|app| app.function(pay_under_its_id)), Order { cents: 5 });
}
