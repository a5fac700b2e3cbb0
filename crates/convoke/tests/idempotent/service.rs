//! Handlers that may run again, and handlers that may not, over a bank as a test double.
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use convoke::{Command, Context, Event, Failure, Handled, Outcome, Query, Rejection, State, handler};
use convoke_testing::outside::step;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "shop.order.v1", reply = u32, idempotent)]
pub(crate) struct Order {
    pub(crate) cents: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Command)]
#[command(name = "shop.refuse.v1", error = Rejection)]
pub(crate) struct Refuse;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Query)]
#[query(name = "shop.ask.v1")]
pub(crate) struct Ask;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "shop.paid.v1")]
pub(crate) struct Paid {
    pub(crate) cents: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Event)]
#[event(name = "shop.mailed.v1")]
pub(crate) struct Mailed;

#[derive(Clone, Default)]
pub(crate) struct Bank(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    rows: BTreeMap<Uuid, u32>,
    balance: u32,
    mails: Vec<Uuid>,
}

impl Bank {
    async fn insert(&self, id: Uuid, cents: u32) {
        step("insert row", async { self.0.lock().unwrap().rows.insert(id, cents) }).await;
    }

    async fn add(&self, cents: u32) {
        step("add to the balance", async { self.0.lock().unwrap().balance += cents }).await;
    }

    async fn mail(&self, id: Uuid) {
        step("send mail", async { self.0.lock().unwrap().mails.push(id) }).await;
    }

    /// Everything that does not change by itself.
    pub(crate) fn rows(&self) -> Vec<String> {
        let books = self.0.lock().unwrap();
        let rows = books.rows.values().map(|cents| format!("row of {cents}"));
        rows.chain([format!("balance {}", books.balance), format!("{} mails", books.mails.len())]).collect()
    }
}

#[handler]
pub(crate) async fn pay_under_its_id(cmd: Order, cx: &Context, State(bank): State<Bank>) -> Outcome<Order> {
    bank.insert(cx.id(), cmd.cents).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    cx.publish(Paid { cents: cmd.cents });
    Ok(cmd.cents)
}

#[handler]
pub(crate) async fn pay(cmd: Order, cx: &Context, State(bank): State<Bank>) -> Outcome<Order> {
    bank.insert(cx.id(), cmd.cents).await;
    cx.publish(Paid { cents: cmd.cents });
    Ok(cmd.cents)
}

#[handler]
pub(crate) async fn pay_anew(cmd: Order, State(bank): State<Bank>) -> Outcome<Order> {
    bank.insert(Uuid::now_v7(), cmd.cents).await;
    Ok(cmd.cents)
}

#[handler]
pub(crate) async fn pay_in_two_steps(cmd: Order, cx: &Context, State(bank): State<Bank>) -> Outcome<Order> {
    bank.insert(cx.id(), cmd.cents).await;
    bank.add(cmd.cents).await;
    Ok(cmd.cents)
}

/// Books without a step, and then waits.
#[handler]
pub(crate) async fn wait_and_book(cmd: Order, State(bank): State<Bank>) -> Outcome<Order> {
    bank.0.lock().unwrap().balance += cmd.cents;
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(cmd.cents)
}

/// Fails whenever the row is there: also when it wrote it itself.
#[handler]
pub(crate) async fn book_twice(_: Order, State(_): State<Bank>) -> Outcome<Order> {
    Err(Failure::poison("it never works"))
}

/// Publishes at once, and not with its outcome.
#[handler]
pub(crate) async fn announce(cmd: Order, cx: &Context) -> Outcome<Order> {
    cx.mediator().publish(Paid { cents: cmd.cents }).await?;
    Ok(cmd.cents)
}

/// Publishes what differs from run to run.
#[handler]
pub(crate) async fn pay_with_a_stamp(cmd: Order, cx: &Context) -> Outcome<Order> {
    cx.publish(Paid { cents: cmd.cents + u32::try_from(cx.fence().unwrap()).unwrap() });
    Ok(cmd.cents)
}

#[handler]
pub(crate) async fn charge(event: Paid, cx: &Context, State(bank): State<Bank>) -> Handled {
    bank.insert(cx.id(), event.cents).await;
    cx.publish(Mailed);
    Ok(())
}

#[handler]
pub(crate) async fn mail_once(_: Mailed, cx: &Context, State(bank): State<Bank>) -> Handled {
    if !bank.0.lock().unwrap().mails.contains(&cx.id()) {
        bank.mail(cx.id()).await;
    }
    Ok(())
}

#[handler]
pub(crate) async fn mail(_: Paid, cx: &Context, State(bank): State<Bank>) -> Handled {
    bank.mail(cx.id()).await;
    Ok(())
}

#[handler(view)]
pub(crate) async fn counts(_: Mailed, State(bank): State<Bank>) -> Handled {
    bank.0.lock().unwrap().balance += 1;
    Ok(())
}

#[handler]
pub(crate) async fn refuse(_: Refuse) -> Outcome<Refuse> {
    Err(Rejection::new("no", "not today"))?
}

#[handler]
pub(crate) async fn ask(_: Ask) -> Outcome<Ask> {
    Ok(())
}
