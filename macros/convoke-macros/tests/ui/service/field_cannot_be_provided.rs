use convoke::{Outcome, Query, Service, handlers};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize, Query)]
#[query(name = "orders.count.v1", reply = u64)]
struct CountOrders;

struct NotClone;
struct NoDefault;

#[derive(Service)]
struct Orders {
    store: NotClone,
    #[service(default)]
    log: NoDefault,
}

#[handlers]
impl Orders {
    #[handler]
    async fn count(&self, _: CountOrders) -> Outcome<CountOrders> {
        Ok(1)
    }
}

fn main() {}
