use std::{
    borrow::Cow,
    future::poll_fn,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use convoke_core::{Behavior, Delivered, Delivery, Next};

use super::Life;

tokio::task_local! {
    static LIFE: Arc<Life>;
}

/// A call to the outside made by a handler under test: the node can die before and after it.
///
/// For test doubles of databases, mailers and the like. Where no test lets a node die it is just the call, and so it is
/// in tasks that a handler spawns.
///
/// ```
/// # use std::{collections::BTreeMap, sync::{Arc, Mutex}};
/// use convoke_testing::outside::step;
///
/// #[derive(Clone, Default)]
/// struct FakeDatabase(Arc<Mutex<BTreeMap<u32, String>>>);
///
/// impl FakeDatabase {
///     async fn put(&self, id: u32, row: String) {
///         step("put row", async { self.0.lock().unwrap().insert(id, row) }).await;
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let database = FakeDatabase::default();
/// # database.put(1, "tea".to_owned()).await;
/// # assert_eq!(database.0.lock().unwrap()[&1], "tea");
/// # });
/// ```
pub async fn step<T>(name: impl Into<Cow<'static, str>>, call: impl Future<Output = T>) -> T {
    match LIFE.try_with(Arc::clone) {
        Ok(life) => life.call(name, call).await,
        Err(_) => call.await,
    }
}

/// A behaviour that counts where handlers wait, and lets their [`step`]s find the life they are in. Made by
/// [`Life::watch`].
#[derive(Debug)]
pub struct Watched(pub(super) Arc<Life>);

impl Behavior for Watched {
    async fn around(&self, delivery: Delivery, next: Next<'_>) -> Delivered {
        self.0.handles();
        let name = format!("await in {}", delivery.context().handler());
        let mut run = pin!(LIFE.scope(self.0.clone(), next.run(delivery)));
        poll_fn(|task: &mut Context<'_>| match run.as_mut().poll(task) {
            Poll::Pending => {
                self.0.waits(&name);
                Poll::Pending
            }
            ready => ready,
        })
        .await
    }
}
