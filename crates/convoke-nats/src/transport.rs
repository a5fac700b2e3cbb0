mod jobs;
mod joining;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use async_nats::Subject;
use convoke_core::{
    Answered, BoxFuture, Capability, Codec, Consume, ConsumeSpec, DeadLetter, LeaveReport, MessageKind,
    NodeIdentity, Outgoing, Receipt, Serve, ServeSpec, TransportError, TransportErrorKind, TransportHealth,
};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

use crate::{
    Config, Counters, DeadLetters, Error, Stores, StoresConfig,
    inbox::Inbox,
    lanes::Members,
    link::Link,
    names::{Names, Source},
    parking::Parking,
    publishing::Publisher,
    pulse::Pulse,
    supervisor::Supervisor,
    tally::Tally,
    task::Task,
    vitals::{Standing, Vitals},
    wire,
};

/// How long a start waits for the server before it goes on without.
const START_WAIT: Duration = Duration::from_secs(3);
/// How long what was cut off, and what was said last, may take beyond the deadline of leaving.
const CUT_WAIT: Duration = Duration::from_millis(100);

/// Carries messages over core NATS and JetStream.
///
/// It connects in the background for as long as it is kept; [`health`](convoke_core::Transport::health) tells.
#[derive(Debug)]
pub struct Transport {
    config: Config,
    link: Arc<Link>,
    inbox: Arc<Inbox>,
    vitals: Arc<Vitals>,
    publisher: Arc<Publisher>,
    tally: Arc<Tally>,
    pulse: Arc<Pulse>,
    /// Tells this run from others of the node; ordered by time.
    instance: String,
    names: OnceLock<Names>,
    /// Subjects of requests, each made once: a program has so many names and no more.
    subjects: RwLock<HashMap<(MessageKind, &'static str), Subject>>,
    /// Those that share groups with this node, once it has one.
    members: OnceLock<Arc<Members>>,
    /// Those that run, and whether they are of jobs.
    consumers: Mutex<BTreeSet<(bool, String)>>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    supervisor: Option<Task>,
    members: Option<Task>,
    pulse: Option<Task>,
    loops: Vec<Task>,
}

impl Transport {
    /// Connects with the defaults to one server, or to several with commas between them.
    ///
    /// Returns while the server is still unreachable.
    ///
    /// # Errors
    /// When an address is malformed.
    pub async fn connect(url: impl AsRef<str>) -> Result<Self, Error> {
        Self::connect_with(Config::new(url)).await
    }

    /// Connects as configured. Returns while the server is still unreachable.
    ///
    /// # Errors
    /// When the configuration cannot work: a malformed address, a file that cannot be read.
    pub async fn connect_with(config: Config) -> Result<Self, Error> {
        let link = Link::connect(&config).await?;
        let inbox = Arc::new(Inbox::open(Arc::clone(&link)).await?);
        let vitals = Arc::new(Vitals::new());
        let window = config.publish_window;
        let publisher = Publisher::new(Arc::clone(&link), Arc::clone(&inbox), Arc::clone(&vitals), window);
        Ok(Self {
            config,
            link,
            inbox,
            vitals,
            publisher: Arc::new(publisher),
            tally: Tally::new(),
            pulse: Pulse::new(),
            instance: Uuid::now_v7().simple().to_string(),
            names: OnceLock::new(),
            subjects: RwLock::default(),
            members: OnceLock::new(),
            consumers: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// Requests and publications that wait for an answer now.
    pub fn calls_waiting(&self) -> usize {
        self.inbox.waiting()
    }

    /// What went wrong and was borne, since the transport was made. For a metrics exporter.
    pub fn counters(&self) -> Counters {
        self.link.troubles().counters()
    }

    /// JetStream over the same connection, for the application's own buckets and streams.
    ///
    /// Put a deadline around each call: while the server is away they wait.
    pub fn jetstream(&self) -> async_nats::jetstream::Context {
        self.link.jetstream().clone()
    }

    /// The dead letters of a namespace, as its nodes keep them. Needs no node: the transport may be one that was not
    /// opened.
    ///
    /// # Errors
    /// When the namespace cannot be one.
    pub fn dead_letters_of(&self, namespace: &str) -> Result<DeadLetters, Error> {
        DeadLetters::new(namespace, &self.link, &self.inbox, &self.publisher)
    }

    /// Waits until a server is there: for programs that have nothing to do without one.
    ///
    /// # Errors
    /// When there is none within this time, or it refuses the credentials.
    pub async fn reach(&self, within: Duration) -> Result<(), Error> {
        crate::check::reach(&self.link, &self.config, within).await
    }

    /// The stores of a node over the same connection, with the defaults. They end when the transport closes.
    pub fn stores(&self) -> Stores {
        self.stores_with(StoresConfig::default()).expect("the defaults were checked by a test")
    }

    /// The same as configured.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn stores_with(&self, stores: StoresConfig) -> Result<Stores, Error> {
        Stores::on(&self.link, &self.inbox, self.config.copies(), stores)
    }

    fn names(&self) -> Result<&Names, TransportError> {
        self.names
            .get()
            .ok_or_else(|| TransportError::new(TransportErrorKind::Refused, "the transport was not opened"))
    }

    fn tasks(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, identity: &NodeIdentity) -> Result<(), TransportError> {
        let names = Names::new(identity)?;
        let names = self.names.get_or_init(|| names);
        let supervisor = Supervisor {
            link: Arc::clone(&self.link),
            inbox: Arc::clone(&self.inbox),
            vitals: Arc::clone(&self.vitals),
            config: self.config.clone(),
            names: names.clone(),
            instance: self.instance.clone(),
            tally: Arc::clone(&self.tally),
        };
        let mut standing = self.vitals.watch();
        self.tasks().supervisor = Some(Task::spawn(supervisor.run()));
        self.tasks().pulse = Some(Task::spawn(Arc::clone(&self.pulse).run(Arc::clone(&self.link))));
        self.spread_net(names)?;
        let settled = |standing: &Standing| matches!(standing, Standing::Ready | Standing::Failed(_));
        let first = timeout(START_WAIT, standing.wait_for(settled)).await;
        match first {
            Ok(Ok(standing)) => match &*standing {
                Standing::Failed(why) => Err(TransportError::new(TransportErrorKind::Refused, why.clone())),
                _ => Ok(()),
            },
            _ => Ok(()), // it goes on in the background, and its health tells
        }
    }

    fn subject(&self, kind: MessageKind, name: &'static str) -> Result<Subject, TransportError> {
        let known = self.subjects.read().unwrap_or_else(PoisonError::into_inner).get(&(kind, name)).cloned();
        if let Some(subject) = known {
            return Ok(subject);
        }
        let subject = Subject::from(self.names()?.request(kind, name).ok_or_else(|| no_name(name))?);
        let mut subjects = self.subjects.write().unwrap_or_else(PoisonError::into_inner);
        Ok(subjects.entry((kind, name)).or_insert(subject).clone())
    }

    /// Encodes before there is a future, so that the box which waits for the answer is small.
    fn ask(
        &self,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<Answered, TransportError>> + Send + '_, TransportError> {
        self.ask_at(self.subject(message.kind, message.name)?, message, deadline)
    }

    /// The same, of a node by its id.
    fn ask_node(
        &self,
        node: &str,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<Answered, TransportError>> + Send + '_, TransportError> {
        let subject = self.names()?.forward(node, message.name).ok_or_else(|| no_name(message.name))?;
        self.ask_at(subject.into(), message, deadline)
    }

    fn ask_at(
        &self,
        subject: Subject,
        message: &Outgoing,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<Answered, TransportError>> + Send + '_, TransportError> {
        let (codec, payload) = encode(message)?;
        let headers = wire::request_headers(&message.envelope, codec);
        let answer = self.inbox.request(subject, headers, payload, Some(&message.envelope), deadline);
        Ok(async move { Ok(wire::answer::read(answer.await?)) })
    }

    /// Encodes before there is a future, as [`ask`](Self::ask) does.
    fn store(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> Result<impl Future<Output = Result<Receipt, TransportError>> + Send + '_, TransportError> {
        let (codec, payload) = encode(&message)?;
        let subject = self.names()?.stored(Source::Events, message.lane, message.name);
        let subject = Subject::from(subject.ok_or_else(|| no_name(message.name))?);
        let headers = move || wire::event_headers(&message.envelope, codec);
        Ok(self.publisher.publish_with(subject, headers, payload, deadline))
    }

    async fn go(&self, deadline: Instant) -> LeaveReport {
        let tally = &self.tally;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (finished, handed_back) = (count(&tally.finished), count(&tally.handed_back));
        tally.leaving.set();
        let loops = std::mem::take(&mut self.tasks().loops);
        let quiet = async {
            for running in loops {
                running.join().await;
            }
            tally.idle().await;
        };
        drop(timeout_at(deadline, quiet).await); // what is not quiet by then is counted as lost
        let lost = tally.running();
        tally.cut.set();
        drop(timeout(CUT_WAIT, tally.idle()).await); // what was cut off gives its events back
        drop(self.inbox.barrier(Instant::now() + CUT_WAIT).await); // replies are written before we go
        LeaveReport {
            finished: count(&tally.finished) - finished,
            handed_back: count(&tally.handed_back) - handed_back,
            lost: u64::try_from(lost).unwrap_or(u64::MAX),
            waiting: 0, // the node counts those
        }
    }

    async fn end(&self, deadline: Instant) {
        drop(std::mem::take(&mut *self.tasks()));
        // the order matters: draining closes the connection, whatever is still to be written
        drop(timeout_at(deadline, self.link.client().flush()).await);
        drop(timeout_at(deadline, self.link.client().drain()).await);
    }
}

fn encode(message: &Outgoing) -> Result<(Codec, bytes::Bytes), TransportError> {
    let refused = |error| TransportError::new(TransportErrorKind::Refused, error);
    message.payload.encoded(Codec::default()).map_err(refused)
}

fn no_name(name: &str) -> TransportError {
    let text =
        format!("{name:?} is no wire name: use words of letters, digits, `-` and `_` with dots between them");
    TransportError::new(TransportErrorKind::Refused, text)
}

impl convoke_core::Transport for Transport {
    fn capability(&self) -> Capability {
        Capability { name: "nats", networked: true }
    }
    fn open<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, Result<(), TransportError>> {
        Box::pin(self.start(node))
    }
    fn request(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Answered, TransportError>> {
        match self.ask(&message, deadline) {
            Ok(asking) => Box::pin(asking),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
    fn request_node<'a>(
        &'a self,
        node: &'a str,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'a, Result<Answered, TransportError>> {
        match self.ask_node(node, &message, deadline) {
            Ok(asking) => Box::pin(asking),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
    fn serve_node(&self, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.join_by_id(serve))
    }
    fn publish(
        &self,
        message: Outgoing,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        match self.store(message, deadline) {
            Ok(storing) => Box::pin(storing),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
    fn enqueue(
        &self,
        message: Outgoing,
        due: Option<SystemTime>,
        deadline: Instant,
    ) -> BoxFuture<'_, Result<Receipt, TransportError>> {
        Box::pin(self.store_job(message, due, deadline))
    }
    fn cancel(&self, id: Uuid, deadline: Instant) -> BoxFuture<'_, Result<bool, TransportError>> {
        Box::pin(self.cancel_job(id, deadline))
    }
    fn bury(&self, letter: DeadLetter, deadline: Instant) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async move {
            let subject = self.names()?.dead(&letter.message.name);
            self.publisher.bury(&subject, &letter, deadline).await
        })
    }
    fn dead_letters(&self) -> Option<Arc<dyn convoke_core::DeadLetters>> {
        let letters = self.dead_letters_of(&self.names.get()?.namespace);
        Some(Arc::new(letters.expect("the namespace was checked when it was opened")))
    }
    fn parking(&self) -> Option<Arc<dyn convoke_core::Parking>> {
        let (inbox, publisher) = (Arc::clone(&self.inbox), Arc::clone(&self.publisher));
        Some(Arc::new(Parking { names: self.names.get()?.clone(), inbox, publisher }))
    }
    fn serve(&self, spec: ServeSpec, serve: Arc<dyn Serve>) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.join(spec, serve))
    }
    fn consume(
        &self,
        spec: ConsumeSpec,
        consume: Arc<dyn Consume>,
    ) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(self.attach(spec, consume))
    }
    fn leave(&self, deadline: Instant) -> BoxFuture<'_, LeaveReport> {
        Box::pin(self.go(deadline))
    }
    fn close(&self, deadline: Instant) -> BoxFuture<'_, ()> {
        Box::pin(self.end(deadline))
    }
    fn abandon(&self) {
        self.tally.leaving.set();
        self.tally.cut.set();
        drop(std::mem::take(&mut *self.tasks())); // ends the loops, which unsubscribes
    }
    fn health(&self) -> TransportHealth {
        self.vitals.health(&self.link)
    }
    fn warnings(&self) -> Vec<String> {
        self.link.troubles().lately()
    }
}
