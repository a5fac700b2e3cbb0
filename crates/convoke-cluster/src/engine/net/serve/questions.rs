use std::io;
use std::sync::Arc;

use convoke_core::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{Conversation, Replies};
use crate::engine::net::calls::Asked;
use crate::engine::net::frame::Frame;
use crate::engine::net::handshake::Hello;
use crate::engine::net::kind::Kind;
use crate::engine::net::service::Service;

/// Questions of one caller that are answered at once. Another one waits in the connection.
pub(crate) const ANSWERING_MAX: usize = 128;

/// Questions, each answered when it is: a slow one holds up nobody.
pub(super) async fn serve(mut conversation: Conversation, hello: &Hello) -> io::Result<()> {
    let answering = Arc::new(Semaphore::new(ANSWERING_MAX));
    // Dropped with the connection, and with it whatever is under way.
    let mut tasks = JoinSet::new();
    loop {
        let permit = Arc::clone(&answering).acquire_owned().await.map_err(io::Error::other)?;
        let idle_at = Instant::now() + conversation.idle;
        let Some((ticket, frame)) = super::next(&mut conversation.frames, hello.lane, idle_at).await? else {
            return Ok(());
        };
        while tasks.try_join_next().is_some() {}
        let question = Question {
            ticket,
            frame,
            knows_whom: hello.to.is_some(),
            replies: conversation.replies.clone(),
            service: Arc::clone(&conversation.service),
        };
        tasks.spawn(async move {
            let _permit = permit;
            if let Err(error) = question.answer().await {
                tracing::debug!(%error, "a question was not answered");
            }
        });
    }
}

struct Question {
    ticket: u64,
    frame: Frame,
    knows_whom: bool,
    replies: Replies,
    service: Arc<dyn Service>,
}

impl Question {
    async fn answer(self) -> io::Result<()> {
        let service = &self.service;
        match self.frame.kind {
            Kind::Vote => self.with(|request| service.vote(request)).await,
            Kind::PreVote => self.with(|request| service.pre_vote(request)).await,
            Kind::Heartbeat => self.with(|request| service.append(request)).await,
            Kind::Transfer => self.with(|request| service.transfer(request)).await,
            _ => self.with(|asked: Asked| asked.answer(&**service, self.knows_whom)).await,
        }
    }

    async fn with<'a, Q, A>(
        &self,
        answer: impl FnOnce(Q) -> BoxFuture<'a, Result<A, String>>,
    ) -> io::Result<()>
    where
        Q: DeserializeOwned,
        A: Serialize,
    {
        let answer = match self.frame.read() {
            Ok(question) => answer(question).await,
            Err(error) => Err(error.to_string()),
        };
        self.replies.finish(Kind::Answer, self.ticket, answer).await
    }
}
