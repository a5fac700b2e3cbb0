//! A cluster of processes, on free ports, with the configuration files of the example.
use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use convoke_testing::{eventually_within, servers::free_port};
use futures_util::future::join_all;
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long an election, a start or an end may take on a busy machine.
pub(crate) const WITHIN: Duration = Duration::from_secs(30);
/// Longer than any deadline within the nodes.
const PATIENCE: Duration = Duration::from_secs(20);

const THREE: [&str; 3] = [
    include_str!("../../config/n1.toml"),
    include_str!("../../config/n2.toml"),
    include_str!("../../config/n3.toml"),
];

const FIVE: [&str; 5] = [
    include_str!("../../config/five/n1.toml"),
    include_str!("../../config/five/n2.toml"),
    include_str!("../../config/five/n3.toml"),
    include_str!("../../config/five/n4.toml"),
    include_str!("../../config/five/n5.toml"),
];

/// Nodes 1 to 3, or 5, in one directory.
pub(crate) struct Nodes {
    // Before the directory, so that the processes are gone when their files go.
    pub(crate) nodes: Vec<Node>,
    pub(crate) directory: TempDir,
    pub(crate) client: Client,
}

/// One of them. It is killed when dropped.
pub(crate) struct Node {
    child: Child,
    lines: Lines,
    arguments: Vec<String>,
    pub(crate) api: String,
    pub(crate) health: String,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Nodes {
    /// Three nodes that have found their leader, patient enough to keep it while the machine is busy.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// The same, each with these flags as well.
    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::configured(&THREE, "[cluster]\npreset = \"wan\"", flags).await
    }

    /// Five nodes, as patient.
    pub(crate) async fn start_five() -> Self {
        Self::configured(&FIVE, "[cluster]\npreset = \"wan\"", &[]).await
    }

    /// Three nodes with the configuration as it is.
    pub(crate) async fn start_as_shipped() -> Self {
        Self::configured(&THREE, "[cluster]", &[]).await
    }

    async fn configured(configs: &[&str], section: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let free = || [(); 3].map(|()| free_port().expect("a free port"));
        let ports: Vec<[u16; 3]> = configs.iter().map(|_| free()).collect();
        let launched = (1..).zip(configs).zip(&ports).map(|((n, config), [api, health, _])| {
            let raft_ports = (9081..).zip(&ports);
            let config =
                raft_ports.fold(config.replacen("[cluster]", section, 1), |text, (shipped, [.., raft])| {
                    text.replace(&format!("0.0.0.0:{shipped}"), &format!("127.0.0.1:{raft}"))
                });
            std::fs::write(directory.path().join(format!("n{n}.toml")), config).expect("it can be written");
            let (config, api, health) = (format!("n{n}"), api.to_string(), health.to_string());
            let own = ["--config-path", &config, "--port", &api, "--health-port", &health];
            Node::launch(directory.path(), own.iter().chain(flags).map(|&flag| flag.to_owned()).collect())
        });
        let nodes = launched.collect();
        let client = Client::builder().timeout(PATIENCE).build().expect("a client");
        let cluster = Self { nodes, directory, client };
        cluster.settled().await;
        cluster
    }

    /// Waits until one leads and all others follow it. Answers which one leads.
    pub(crate) async fn settled(&self) -> usize {
        self.settled_without(&[]).await
    }

    /// The same, while these are away.
    pub(crate) async fn settled_without(&self, away: &[usize]) -> usize {
        let roles = async || {
            let roles = join_all((0..self.nodes.len()).map(async |n| match away.contains(&n) {
                true => [0, 0],
                false => [self.is(n, "primary").await, self.is(n, "replica").await],
            }));
            let roles = roles.await;
            let leads = roles.iter().position(|role| *role == [200, 503]);
            let follow = roles.iter().filter(|role| **role == [503, 200]).count();
            leads.filter(|_| follow + away.len() + 1 == roles.len()).ok_or_else(|| (roles, self.said()))
        };
        eventually_within(WITHIN, "one leads and the others follow", roles).await
    }

    /// The status of `/primary` or `/replica`; 0 when nobody answers.
    pub(crate) async fn is(&self, n: usize, role: &str) -> u16 {
        let answer = answer(self.client.get(format!("{}/{role}", self.nodes[n].health))).await;
        answer.map_or(0, |answer| answer.status)
    }

    pub(crate) async fn health(&self, n: usize) -> Answer {
        answer(self.client.get(format!("{}/health", self.nodes[n].health))).await.expect("an answer")
    }

    pub(crate) fn request(&self, n: usize, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.nodes[n].api))
    }

    /// As the README writes it.
    pub(crate) async fn put(&self, n: usize, key: &str, value: &str) -> reqwest::Result<Answer> {
        answer(self.request(n, Method::POST, "/kv").json(&json!({ "key": key, "value": value }))).await
    }

    pub(crate) async fn get(&self, n: usize, path: &str) -> Answer {
        answer(self.request(n, Method::GET, path)).await.expect("an answer")
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, n: usize) {
        self.nodes[n].child.kill().expect("it is ours");
        self.nodes[n].child.wait().expect("it ends");
    }

    /// Starts it again as it was started, in place of the one that ended.
    pub(crate) fn start_again(&mut self, n: usize) {
        let arguments = self.nodes[n].arguments.clone();
        self.nodes[n] = Node::launch(self.directory.path(), arguments);
    }

    /// In place of the first node: one that begins a new cluster with what these have, as `docs/cluster.md` writes it.
    pub(crate) fn begin_again(&mut self, from: &[usize]) {
        let address = format!("127.0.0.1:{}", free_port().expect("a free port"));
        let folders: Vec<_> = from.iter().map(|n| format!("db/{}", n + 1)).collect();
        let config = format!(
            "[cluster]\nname = \"again\"\nnode_id = 1\nlisten_address = \"{address}\"\n\
             initial_cluster = [{{ id = 1, address = \"{address}\" }}]\n\
             persistent_state_path = \"db/again\"\nrecover_from = {folders:?}\n"
        );
        std::fs::write(self.directory.path().join("again.toml"), config).expect("it can be written");
        let arguments = self.nodes[0].arguments.iter();
        let arguments = arguments.map(|argument| if argument == "n1" { "again" } else { argument });
        self.nodes[0] = Node::launch(self.directory.path(), arguments.map(str::to_owned).collect());
    }

    /// What all of them said, to be printed after a failure.
    pub(crate) fn said(&self) -> Vec<Vec<String>> {
        self.nodes.iter().map(Node::said).collect()
    }
}

impl Node {
    fn launch(directory: &Path, arguments: Vec<String>) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_three-nodes-embedded"));
        program.args(&arguments).current_dir(directory).stdin(Stdio::null());
        let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let lines = Lines::default();
        collect(child.stdout.take().expect("it is piped"), Arc::clone(&lines));
        collect(child.stderr.take().expect("it is piped"), Arc::clone(&lines));
        let url = |flag: &str| {
            let at = arguments.iter().position(|argument| argument == flag).expect("it is given");
            format!("http://127.0.0.1:{}", arguments[at + 1])
        };
        let (api, health) = (url("--port"), url("--health-port"));
        Self { child, lines, arguments, api, health }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let mut ask = || child.try_wait().expect("it is ours");
        eventually_within(WITHIN, "the node ends", move || std::future::ready(ask())).await
    }

    pub(crate) fn said(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

/// Keeps what a process says, so that it never waits for a reader.
fn collect(from: impl Read + Send + 'static, lines: Lines) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
}
