use tokio::task::JoinHandle;

/// A task that ends with its owner.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
    /// Waits for its end.
    pub(crate) async fn join(mut self) {
        drop((&mut self.0).await); // it was cancelled, or panicked and said so
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
