//! Tower layers at the place of behaviours.
use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Answer, BoxError, BoxFuture, Delivered, Delivery, Failed,
    behavior::{Link, Next, Stage, Wrap},
};

/// The rest of a handler's pipeline as a tower service. What a layer wraps.
#[derive(Clone)]
pub struct NextService(Arc<Link>);

impl std::fmt::Debug for NextService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NextService")
    }
}

impl Service<Delivery> for NextService {
    type Response = Answer;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Answer, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, delivery: Delivery) -> Self::Future {
        let rest = self.0.clone();
        Box::pin(async move { rest.run(delivery).await.map_err(BoxError::from) })
    }
}

/// A layer built around the rest of one handler's pipeline.
struct Layered<S>(S);

impl<S> Stage for Layered<S>
where
    S: Service<Delivery, Response = Answer> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
{
    fn around<'a>(&'a self, delivery: Delivery, _: Next<'a>) -> BoxFuture<'a, Delivered> {
        // A clone of a ready service is not ready: the clone is asked, and the same clone is called.
        let mut service = self.0.clone();
        Box::pin(async move {
            std::future::poll_fn(|task| service.poll_ready(task)).await.map_err(failed)?;
            service.call(delivery).await.map_err(failed)
        })
    }
}

/// What a layer made of an error: ours comes through as it was, a layer's own is a fault.
fn failed(error: impl Into<BoxError>) -> Failed {
    match error.into().downcast::<Failed>() {
        Ok(failed) => *failed,
        Err(error) => Failed::fault(error),
    }
}

/// A wrap that builds the layer's service once per handler.
pub(crate) fn wrap<L>(layer: L) -> Wrap
where
    L: Layer<NextService> + Send + Sync + 'static,
    L::Service: Service<Delivery, Response = Answer> + Clone + Send + Sync + 'static,
    <L::Service as Service<Delivery>>::Error: Into<BoxError>,
    <L::Service as Service<Delivery>>::Future: Send,
{
    Box::new(move |rest| Box::new(Layered(layer.layer(NextService(rest)))))
}
