use std::{fmt, sync::Arc};

use convoke_core::App;

use super::{TestApp, faulty::Faulty};
use crate::Faults;

/// A [`TestApp`] before it starts. Made by [`TestApp::of`].
#[must_use = "nothing runs until it is started"]
pub struct Setup {
    make: Make,
    faults: Option<Faults>,
}

/// Makes the app, once for each life of its node.
pub(super) type Make = Arc<dyn Fn() -> App + Send + Sync>;

impl Setup {
    pub(super) fn new(make: Make) -> Self {
        Self { make, faults: None }
    }

    /// Puts faults between the app and everything outside of it. Calls of the test meet them as well: it is a caller
    /// on a node of its own.
    pub fn faults(mut self, faults: Faults) -> Self {
        self.faults = Some(faults);
        self
    }

    /// Starts it, and prints the seed of its faults.
    ///
    /// # Panics
    /// As [`TestApp::start`].
    pub async fn start(self) -> TestApp {
        match self.faults {
            None => TestApp::start((self.make)()).await,
            Some(faults) => Faulty::start(self.make, faults).await,
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("faults", &self.faults).finish_non_exhaustive()
    }
}
