//! What an app says of itself.
use convoke::{
    App, Command, Description, Event, Handled, MessageKind, Outcome, Query, Rejection, Runs, handlers,
};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "describe.pay.v1", reply = u64, error = Rejection, idempotent)]
struct Pay;

#[derive(Debug, Clone, Serialize, Deserialize, Query)]
#[query(name = "describe.total.v1", reply = u64)]
struct Total;

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "describe.paid.v1")]
struct Paid;

struct Till;

#[handlers]
impl Till {
    #[handler]
    async fn pay(&self, _: Pay) -> Outcome<Pay> {
        Ok(1)
    }
    #[handler]
    async fn total(&self, _: Total) -> Outcome<Total> {
        Ok(1)
    }
    #[handler]
    async fn each(&self, _: Paid) -> Handled {
        Ok(())
    }
    #[handler(view)]
    async fn view(&self, _: Paid) -> Handled {
        Ok(())
    }
    #[handler(group = "billing")]
    async fn bill(&self, _: Paid) -> Handled {
        Ok(())
    }
}

#[test]
fn an_app_describes_its_handlers_and_the_description_survives_json() {
    let description = App::new("till").service(Till).describe().expect("it is sound");
    let handlers: Vec<_> = description.handlers.iter().map(|one| (one.handler.as_str(), &one.runs)).collect();
    let billing = Runs::Group("billing".to_owned());
    let expected = [
        ("Till::pay", &Runs::OneNode),
        ("Till::total", &Runs::OneNode),
        ("Till::bill", &billing),
        ("Till::each", &Runs::EveryNode),
        ("Till::view", &Runs::View),
    ];
    assert_eq!(handlers, expected);
    let (pay, paid) = (&description.handlers[0], &description.handlers[2]);
    assert_eq!(
        (pay.kind, pay.name.as_str(), pay.idempotent),
        (MessageKind::Command, "describe.pay.v1", true)
    );
    assert!(pay.reply.as_deref() == Some("u64") && pay.message.ends_with("Pay"), "{pay:?}");
    assert!(paid.reply.is_none() && paid.error.is_none(), "{paid:?}");
    assert!(pay.at.contains("describe.rs:"), "{}", pay.at);
    let json = serde_json::to_string(&description).expect("it is data");
    assert_eq!(serde_json::from_str::<Description>(&json).expect("the same"), description);
}

#[test]
fn an_app_that_cannot_be_built_is_not_described() {
    let app = App::new("till").service(Till).service(Till);
    assert!(app.describe().expect_err("two handlers").to_string().contains("describe.pay.v1"));
}
