//! Keeps a node's part in dividing the lanes of one group: reads what it should read, and nothing else.

use std::{sync::Arc, time::Duration};

use async_nats::Subscriber;
use bytes::Bytes;
use futures_util::{StreamExt, future::join};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, interval, sleep_until, timeout},
};
use uuid::Uuid;

use super::{
    assignment::{Assignment, SPANS},
    members::Members,
};
use crate::{
    Error,
    consuming::{Consumer, Cursor, Ended},
    jitter,
    names::Lanes,
    records::Records,
    tally::Signal,
    task::Task,
};

/// How often it looks whether all is as it should be, beside the times when it hears of a change.
const LOOK: Duration = Duration::from_millis(500);
/// The record is read again after so long, also when nobody spoke of a change.
const READ_AGAIN: Duration = Duration::from_secs(5);
/// So often others may be first before it looks again later.
const ROUNDS_MAX: usize = 8;
/// First and longest pause before a span that was lost is read again.
const PAUSES: [Duration; 2] = [Duration::from_millis(50), Duration::from_secs(2)];
/// How long a node that hands events back leaves the lanes to others.
const ABSTAINS: Duration = Duration::from_secs(10);
/// How long a node that leaves may take to hand its lanes over.
const LEAVE_MAX: Duration = Duration::from_secs(2);
/// How long the subscription may wait for room.
const ROOM_WAIT: Duration = Duration::from_secs(2);

/// A node's part in one group.
pub(crate) struct Steward {
    /// Reads the lane of what has no key; the readers of spans are made after it.
    shared: Consumer,
    members: Arc<Members>,
    records: Records,
    group: String,
    names: Vec<String>,
    spans: Vec<Reading>,
    ended: (mpsc::Sender<Report>, mpsc::Receiver<Report>),
    /// The record as it was last read, with its revision.
    known: Option<(u64, Assignment)>,
    read_at: Instant,
    stale: bool,
    goes: bool,
    abstains_until: Option<Instant>,
    again_at: Instant,
    pause: Duration,
}

/// How a span is read.
#[derive(Default)]
struct Reading {
    state: State,
    /// Kept from reading to reading: what is in hand is not handed over twice.
    cursor: Option<Cursor>,
}

#[derive(Default)]
enum State {
    #[default]
    Idle,
    Runs {
        epoch: u64,
        over: Arc<Signal>,
        _task: Task,
    },
    Ended {
        epoch: u64,
    },
}

/// A reading came to its end.
struct Report {
    span: usize,
    epoch: u64,
    cursor: Cursor,
    ended: Ended,
}

impl Steward {
    pub(crate) fn new(shared: Consumer, members: Arc<Members>, records: Records, group: String) -> Self {
        let mut names: Vec<_> = shared.spec.names.iter().map(|name| (*name).to_owned()).collect();
        names.sort();
        names.dedup();
        Self {
            shared,
            members,
            records,
            group,
            names,
            spans: (0..SPANS).map(|_| Reading::default()).collect(),
            ended: mpsc::channel(SPANS),
            known: None,
            read_at: Instant::now(),
            stale: true,
            goes: false,
            abstains_until: None,
            again_at: Instant::now(),
            pause: PAUSES[0],
        }
    }

    /// Runs until the node has left. `attached` hears of the first attach, or why there will be none.
    pub(crate) async fn run(mut self, attached: oneshot::Sender<Result<(), Error>>) {
        let (told, first) = oneshot::channel();
        let shared = self.shared.clone().run(told);
        let lanes = async {
            match first.await {
                Ok(Ok(())) => {
                    drop(attached.send(Ok(())));
                    self.hold().await;
                }
                Ok(Err(error)) => drop(attached.send(Err(error))),
                Err(_) => {} // the node left before
            }
        };
        join(shared, lanes).await;
    }

    async fn hold(&mut self) {
        self.members.join(&self.group, &self.names, true);
        let Some(mut hints) = self.hints().await else { return };
        let (mut looks, mut changes) = (interval(LOOK), self.members.watch());
        let tally = Arc::clone(&self.shared.tally);
        let mut leave_by = None;
        loop {
            tokio::select! {
                _ = looks.tick() => {}
                hint = hints.next() => match hint {
                    Some(_) => self.stale = true,
                    None => return, // the connection was closed
                },
                _ = changes.changed() => {}
                () = sleep_until(self.again_at), if self.waits_to_begin_anew() => {}
                report = self.ended.1.recv() => report.into_iter().for_each(|report| self.note(report)),
                () = tally.leaving.wait(), if !self.goes => {
                    self.goes = true;
                    leave_by = Some(Instant::now() + LEAVE_MAX);
                }
            }
            self.say_whether_we_take();
            while let Ok(report) = self.ended.1.try_recv() {
                self.note(report);
            }
            if self.shared.link.is_connected()
                && let Err(error) = self.turn().await
            {
                tracing::debug!(group = self.group, %error, "whose the lanes are could not be settled now");
            }
            if leave_by.is_some_and(|by| self.has_nothing() || Instant::now() > by) {
                return self.members.leave(&self.group);
            }
        }
    }

    /// Changes of the record are heard of at once.
    async fn hints(&self) -> Option<Subscriber> {
        loop {
            let subject = self.shared.names.lanes_record(&self.group);
            tokio::select! {
                subscribed = timeout(ROOM_WAIT, self.shared.link.client().subscribe(subject)) => match subscribed {
                    Ok(Ok(hints)) => return Some(hints),
                    _ => tokio::time::sleep(PAUSES[0]).await,
                },
                () = self.shared.tally.leaving.wait() => return None,
            }
        }
    }

    fn say_whether_we_take(&mut self) {
        if self.abstains_until.is_some_and(|until| until <= Instant::now()) {
            self.abstains_until = None;
        }
        self.members.join(&self.group, &self.names, !self.goes && self.abstains_until.is_none());
    }

    fn waits_to_begin_anew(&self) -> bool {
        self.again_at > Instant::now()
            && self.spans.iter().any(|span| matches!(span.state, State::Ended { .. }))
    }

    fn has_nothing(&self) -> bool {
        let ours =
            |known: &Assignment| known.spans.iter().any(|span| span.owner.as_ref() == Some(&self.members.me));
        self.spans.iter().all(|span| !matches!(span.state, State::Runs { .. }))
            && self.known.as_ref().is_none_or(|(_, known)| !ours(known))
    }

    fn note(&mut self, report: Report) {
        let Report { span, epoch, cursor, ended } = report;
        self.spans[span] = Reading { state: State::Ended { epoch }, cursor: Some(cursor) };
        let why = match ended {
            Ended::Over => return,
            Ended::Lost(why) => {
                self.stale = true; // perhaps it is another node's
                why
            }
            Ended::HandedBack => {
                let members = self.members.view(&self.group).members;
                if members.iter().any(|(member, takes)| *takes && *member != self.members.me) {
                    self.abstains_until = Some(Instant::now() + ABSTAINS);
                }
                "an event was handed back".to_owned()
            }
        };
        if self.again_at <= Instant::now() {
            self.pause =
                if self.again_at.elapsed() > PAUSES[1] { PAUSES[0] } else { (self.pause * 2).min(PAUSES[1]) };
            self.again_at = Instant::now() + jitter::shortened(self.pause);
        }
        self.shared.vitals.consumer_waits(&self.label(span), why);
    }

    /// What tells a span from the node's other consumers.
    fn label(&self, span: usize) -> String {
        format!("{}={span:02}", self.shared.name)
    }

    /// Brings the record to what it should be, and the readings to the record.
    async fn turn(&mut self) -> Result<(), Error> {
        for _ in 0..ROUNDS_MAX {
            if self.stale || self.read_at.elapsed() > READ_AGAIN {
                self.read().await?;
            }
            let (revision, known) = match &self.known {
                Some((revision, known)) => (*revision, known.clone()),
                None => (0, Assignment::new(self.names.clone(), first_epoch())),
            };
            let plan = self.with_ends(known.clone()).planned(&self.members.view(&self.group), &self.names);
            if plan == known && self.known.is_some() {
                self.follow(&plan);
                return Ok(());
            }
            let content = serde_json::to_vec(&plan).map_err(Error::refused)?;
            let subject = self.shared.names.lanes_record(&self.group);
            self.stale = true; // it is followed when it was read: another one may have been first
            self.records.write(subject, revision, Bytes::from(content)).await?;
        }
        Err(Error::unavailable("others change it all the time"))
    }

    async fn read(&mut self) -> Result<(), Error> {
        let record = self.records.latest(&self.shared.names.lanes_record(&self.group)).await?;
        let parsed = record.map(|record| {
            let read = serde_json::from_slice::<Assignment>(&record.content).ok();
            let assignment = read.filter(Assignment::is_whole).unwrap_or_else(|| {
                tracing::error!(
                    group = self.group,
                    "the record of its lanes cannot be read, it is written anew"
                );
                Assignment::new(self.names.clone(), first_epoch())
            });
            (record.revision, assignment)
        });
        (self.known, self.read_at, self.stale) = (parsed, Instant::now(), false);
        Ok(())
    }

    /// With what our own readings came to.
    fn with_ends(&self, mut known: Assignment) -> Assignment {
        let may_begin_anew = self.again_at <= Instant::now();
        for (span, reading) in known.spans.iter_mut().zip(&self.spans) {
            if span.owner.as_ref() != Some(&self.members.me) {
                continue;
            }
            let to_go = self.goes || span.next.is_some();
            match reading.state {
                State::Ended { epoch } if epoch == span.epoch && (to_go || may_begin_anew) => {
                    span.ended(self.goes)
                }
                State::Idle if to_go => span.ended(self.goes),
                _ => {}
            }
        }
        known
    }

    fn follow(&mut self, plan: &Assignment) {
        for (index, span) in plan.spans.iter().enumerate() {
            let ours = span.owner.as_ref() == Some(&self.members.me);
            let stays = ours && span.next.is_none() && !self.goes;
            match &self.spans[index].state {
                State::Runs { epoch, over, .. } if !stays || *epoch != span.epoch => over.set(),
                State::Ended { epoch } if !ours || *epoch != span.epoch => {
                    self.spans[index].state = State::Idle;
                    self.shared.vitals.consumer_runs(&self.label(index));
                }
                _ => {}
            }
            if stays && matches!(self.spans[index].state, State::Idle) {
                self.begin(index, span.epoch);
            }
        }
    }

    fn begin(&mut self, span: usize, epoch: u64) {
        let over = Arc::new(Signal::default());
        let reader = Consumer {
            name: format!("{}={span:02}={epoch}", self.shared.name),
            lanes: Lanes::Span(span),
            over: Some(Arc::clone(&over)),
            ..self.shared.clone()
        };
        let (label, ended) = (self.label(span), self.ended.0.clone());
        let mut cursor = self.spans[span].cursor.take().unwrap_or_default();
        let names = self.known.as_ref().map_or_else(|| self.names.clone(), |(_, known)| known.names.clone());
        let task = Task::spawn(async move {
            let end = reader.read_span(&label, epoch, &names, &mut cursor).await;
            drop(ended.send(Report { span, epoch, cursor, ended: end }).await); // fails when the node is gone
        });
        self.spans[span].state = State::Runs { epoch, over, _task: task };
    }
}

/// Later than that of any record that was there before and is lost.
fn first_epoch() -> u64 {
    Uuid::now_v7().get_timestamp().map_or(0, |time| time.to_unix().0)
}
