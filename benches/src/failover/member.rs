//! A process of its own: a node of the cluster, and the client at it that writes all the time. It prints what happens,
//! and ends with its standard input.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, Read, Write},
    path::PathBuf,
    time::Duration,
};

use bytes::Bytes;
use clap::Args;
use convoke::cluster::{At, Cluster, Config, Image, Member, NodeId, Standing, StateMachine, Timing};
use tokio::{
    runtime::Runtime,
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};

use super::events::Event;
use crate::BoxError;

/// How often the client begins a write, whatever became of those before.
pub(crate) const WRITE_EVERY: Duration = Duration::from_millis(5);
/// How long it waits for one.
const WRITE_WITHIN: Duration = Duration::from_secs(5);
/// How often a node says how it stands.
const SAY_EVERY: Duration = Duration::from_millis(25);
/// A follower that lacks no more than this could take over.
const LAG_MAX: u64 = 64;
/// What is told to a node that is to hand over.
pub(crate) const HAND_OVER: &str = "hand over";

/// Which node.
#[derive(Debug, Clone, Args)]
pub(crate) struct Place {
    /// Its number, from 1.
    #[arg(long)]
    pub(crate) id: NodeId,
    /// Where the nodes listen, in their order.
    #[arg(long, value_delimiter = ',')]
    pub(crate) addresses: Vec<String>,
    /// Its timing.
    #[arg(long)]
    pub(crate) preset: String,
    /// Where it keeps its state.
    #[arg(long)]
    pub(crate) folder: PathBuf,
}

impl Place {
    fn timing(&self) -> Result<Timing, BoxError> {
        Timing::named(&self.preset).ok_or_else(|| "no such preset".into())
    }

    fn config(&self) -> Result<Config, BoxError> {
        let founders: BTreeMap<NodeId, &String> = (1..).zip(&self.addresses).collect();
        let own = founders.get(&self.id).ok_or("the node is not among the addresses")?;
        let config = Config::new(*own).node_id(self.id).timing(self.timing()?).persistent(&self.folder);
        let with = |config: Config, (id, at): (&NodeId, &&String)| {
            config.founder(*id, Member::new(format!("n{id}"), at.as_str()))
        };
        Ok(founders.iter().fold(config, with))
    }
}

/// Runs until standard input ends.
pub(crate) fn run(place: &Place) -> Result<bool, BoxError> {
    // As `#[tokio::main]` makes it.
    let runtime = Runtime::new()?;
    let (asked, mut asks) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            let _ = asked.send(line); // the receiver lives as long as the process
        }
    });
    runtime.block_on(async {
        let lately = place.timing()?.heartbeat * 2;
        let cluster = Cluster::start_with(place.config()?, Terms::default()).await?;
        let (mut writes, mut says) = (interval(WRITE_EVERY), interval(SAY_EVERY));
        for ticks in [&mut writes, &mut says] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        }
        loop {
            tokio::select! {
                _ = writes.tick() => drop(tokio::spawn(write(cluster.clone()))),
                _ = says.tick() => stands(&cluster, lately).say()?,
                line = asks.recv() => match line.as_deref() {
                    Some(HAND_OVER) => drop(tokio::spawn(hand_over(cluster.clone()))),
                    Some(other) => return Err(format!("nobody understands {other:?}").into()),
                    None => return Ok(true),
                },
            }
        }
    })
}

async fn write(cluster: Cluster<Terms>) {
    let written = cluster.propose(Bytes::from_static(b"a line"), Instant::now() + WRITE_WITHIN).await;
    let event = match written.map_err(|error| error.to_string()).and_then(|term| Terms::read(&term)) {
        Ok(term) => Event::Wrote { term },
        Err(why) => Event::Failed { why },
    };
    let _ = event.say(); // when nobody listens, standard input is closed as well
}

async fn hand_over(cluster: Cluster<Terms>) {
    if let Err(error) = cluster.transfer_leadership(None).await {
        let _ = Event::Failed { why: error.to_string() }.say(); // as above
    }
}

fn stands(cluster: &Cluster<Terms>, lately: Duration) -> Event {
    let metrics = cluster.metrics();
    // Asked of the node, and not of its engine: a majority has confirmed it lately.
    let leads = metrics.standing == Standing::Leader && cluster.is_leader();
    let others = metrics.followers.iter();
    let near = others.filter(|other| other.lag <= LAG_MAX && other.heard.is_some_and(|ago| ago < lately));
    Event::Stands { leads, term: metrics.term, near: near.count() }
}

/// Counts what was written, and answers each write with the term of the leader that took it.
#[derive(Debug, Default, Clone)]
struct Terms {
    writes: u64,
}

impl Terms {
    fn read(answer: &[u8]) -> Result<u64, String> {
        let bytes = answer.try_into().map_err(|_| "that is no term".to_owned())?;
        Ok(u64::from_le_bytes(bytes))
    }
}

impl StateMachine for Terms {
    type Image = Self;

    fn apply(&mut self, at: At, _: &[u8]) -> Bytes {
        self.writes += 1;
        Bytes::copy_from_slice(&at.term.to_le_bytes())
    }

    fn image(&self) -> Self {
        self.clone()
    }

    fn restore(&mut self, image: &mut dyn Read) -> io::Result<()> {
        let mut bytes = [0; 8];
        image.read_exact(&mut bytes)?;
        self.writes = u64::from_le_bytes(bytes);
        Ok(())
    }
}

impl Image for Terms {
    fn write(&self, to: &mut dyn Write) -> io::Result<()> {
        to.write_all(&self.writes.to_le_bytes())
    }
}
