//! Processes of `orders`, and what they answer.

use std::{
    fs::File,
    net::TcpListener,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use convoke_testing::eventually_within;
use reqwest::{Client, Method, header::HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long nodes may take until they agree, on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Ports that the tests look for free ones among: below those that the system gives out, and that other tests take.
const PORTS: std::ops::Range<u16> = 5_100..6_000;

/// A running node. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    arguments: Vec<String>,
    pub(crate) name: String,
    pub(crate) url: String,
    client: Client,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn number(&self, header: &str) -> u64 {
        let value = self.headers.get(header).unwrap_or_else(|| panic!("no {header}: {self:?}"));
        value.to_str().unwrap().parse().unwrap()
    }
}

pub(crate) fn command(arguments: &[String]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_orders"));
    command.args(arguments).env_remove("NATS_URL").env_remove("REDIS_URL").stdin(Stdio::null());
    command.env("ORDERS_CLUSTER_PRESET", "wan"); // patient enough to keep a leader while the machine is busy
    command
}

impl Process {
    /// Starts a node that keeps its state, and what it says, in this folder.
    pub(crate) fn start(folder: &Path, name: &str, port: u16, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>();
        let client = Client::builder().timeout(Duration::from_secs(15)).build().unwrap();
        let (name, url) = (name.to_owned(), format!("http://127.0.0.1:{port}"));
        let child = spawn(folder, &name, &arguments);
        Self { child, arguments, name, url, client }
    }

    pub(crate) fn start_again(&mut self, folder: &Path) {
        self.child = spawn(folder, &self.name, &self.arguments);
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Tells it to stop, and waits until it has.
    pub(crate) async fn stop(&mut self) -> ExitStatus {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        let child = &mut self.child;
        let mut ask = || child.try_wait().unwrap();
        eventually_within(PATIENCE, "the node ends", move || std::future::ready(ask())).await
    }

    pub(crate) async fn try_ask(&self, method: Method, path: &str, body: Option<Value>) -> Option<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.ok()?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.ok()?;
        Some(Answer { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.try_ask(Method::GET, path, None).await.expect("an answer")
    }

    pub(crate) async fn post(&self, path: &str) -> Answer {
        self.try_ask(Method::POST, path, None).await.expect("an answer")
    }

    /// Asks for the order's shipping number, again and again while nobody leads for longer than a request waits. It
    /// may have been given each time: it is the same one then.
    pub(crate) async fn number(&self, order: &str) -> Answer {
        let path = format!("/orders/{order}/shipping-number");
        let given = async || match self.post(&path).await {
            nobody if matches!(nobody.status, 409 | 502..=504) => Err(nobody),
            answer => Ok(answer),
        };
        eventually_within(PATIENCE, "somebody leads", given).await
    }

    /// Places an order, and tells its id.
    pub(crate) async fn place(&self) -> String {
        let item = json!({ "productId": "P-1", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 });
        let order = json!({ "customerId": "C-1", "items": [item] });
        let placed = self.try_ask(Method::POST, "/orders", Some(order)).await.expect("an answer");
        assert_eq!(placed.status, 201, "{placed:?}");
        placed.body["orderId"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn ready(&self) {
        let ready = async || match self.try_ask(Method::GET, "/readyz", None).await {
            Some(Answer { status: 200, .. }) => Ok(()),
            other => Err(other),
        };
        eventually_within(PATIENCE, "the node is ready", ready).await;
    }

    /// Who leads, and in which term, as this node knows it.
    pub(crate) async fn leader(&self) -> Option<(String, u64)> {
        let health = self.try_ask(Method::GET, "/health", None).await?.body;
        Some((health["cluster"]["leader"].as_str()?.to_owned(), health["cluster"]["term"].as_u64()?))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

fn spawn(folder: &Path, name: &str, arguments: &[String]) -> Child {
    let said = File::options().create(true).append(true).open(folder.join(format!("{name}.log"))).unwrap();
    let mut command = command(arguments);
    command.current_dir(folder).stdout(said.try_clone().unwrap()).stderr(said);
    command.spawn().unwrap()
}

/// Waits until all agree who leads in a term after this one, and tells its place among them and its term.
pub(crate) async fn agreed(nodes: &[&Process], after: u64) -> (usize, u64) {
    let agree = async || {
        let mut seen = Vec::new();
        for node in nodes {
            seen.push(node.leader().await);
        }
        match &seen[0] {
            Some((leader, term)) if *term > after && seen.iter().all(|other| *other == seen[0]) => {
                nodes.iter().position(|node| node.name == *leader).map(|at| (at, *term)).ok_or(seen)
            }
            _ => Err(seen),
        }
    };
    eventually_within(PATIENCE, "the nodes agree who leads", agree).await
}

/// Three HTTP ports that count up, and the three a thousand above, which nobody else among these tests gets.
pub(crate) struct Ports {
    pub(crate) first: u16,
    /// Held as long as the ports are: a node that was killed leaves them free, and its successor wants them.
    _claim: TcpListener,
}

impl Ports {
    /// Blocks of ten, each claimed by listening on its last port.
    pub(crate) fn claim() -> Self {
        let listen = |port| TcpListener::bind(("127.0.0.1", port));
        let blocks = || PORTS.step_by(10);
        let begin = std::process::id() as usize % blocks().len();
        let mut blocks = blocks().cycle().skip(begin).take(blocks().len());
        let claim = blocks.find_map(|first| {
            let claim = listen(first + 9).ok()?;
            let free = (first..first + 3).all(|port| listen(port).is_ok() && listen(port + 1_000).is_ok());
            free.then_some(Self { first, _claim: claim })
        });
        claim.expect("ten free ports that count up")
    }
}
