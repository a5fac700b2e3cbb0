use std::sync::Arc;

use tokio::sync::Semaphore;

/// Holds whoever wants to pass until it is opened, or for each one that is let through.
#[derive(Debug, Clone)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed gate. Clones are the same gate.
    #[must_use]
    pub fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets so many pass, now or later.
    pub fn let_through(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Lets everybody pass from now on.
    pub fn open(&self) {
        self.0.close();
    }

    /// Waits until it may pass.
    pub async fn pass(&self) {
        if let Ok(permit) = self.0.acquire().await {
            permit.forget();
        }
    }
}
