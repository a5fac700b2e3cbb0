use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use convoke_core::{Answered, BoxFuture, Incoming, Serve};

use super::{Gate, reply, text};
use crate::eventually;

type Answer = dyn Fn(Incoming) -> BoxFuture<'static, Answered> + Send + Sync;

/// Answers requests as a test says, and keeps what it got.
pub struct Responder {
    answer: Box<Answer>,
    seen: Mutex<Vec<Incoming>>,
    finished: Arc<AtomicUsize>,
}

impl Responder {
    /// Answers with what it got.
    #[must_use]
    pub fn echo() -> Arc<Self> {
        Self::answering(|incoming| Box::pin(async { reply(incoming.payload) }))
    }

    /// Answers with what it got, when the gate lets it.
    #[must_use]
    pub fn behind(gate: &Gate) -> Arc<Self> {
        let gate = gate.clone();
        Self::answering(move |incoming| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.pass().await;
                reply(incoming.payload)
            })
        })
    }

    /// Never answers.
    #[must_use]
    pub fn silent() -> Arc<Self> {
        Self::answering(|_| Box::pin(std::future::pending()))
    }

    /// Answers as the function says.
    #[must_use]
    pub fn answering(
        answer: impl Fn(Incoming) -> BoxFuture<'static, Answered> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { answer: Box::new(answer), seen: Mutex::default(), finished: Arc::default() })
    }

    /// What it got, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Incoming> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The contents of what it got, in order.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        self.seen().iter().map(|incoming| text(&incoming.payload)).collect()
    }

    /// How many requests ran to their end.
    #[must_use]
    pub fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    /// Waits until it got so many.
    pub async fn has_seen(&self, count: usize) {
        eventually("the requests arrived", || async {
            let seen = self.texts();
            if seen.len() >= count { Ok(()) } else { Err(format!("{} of {count}: {seen:?}", seen.len())) }
        })
        .await;
    }
}

impl Serve for Responder {
    fn serve(&self, incoming: Incoming) -> BoxFuture<'static, Answered> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(incoming.clone());
        let answer = (self.answer)(incoming);
        let finished = Arc::clone(&self.finished);
        Box::pin(async move {
            let answered = answer.await;
            finished.fetch_add(1, Ordering::SeqCst);
            answered
        })
    }
}

impl fmt::Debug for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responder").field("seen", &self.texts()).finish_non_exhaustive()
    }
}
