//! `orders node` as a process, and a caller of it.
use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use convoke_testing::{
    eventually, eventually_within,
    servers::{NatsServer, RedisServer},
};
use reqwest::{Client, Method, RequestBuilder, header::HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// How long a node may take until it is ready, on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// A running node. It is killed when dropped.
pub(crate) struct Node {
    child: Child,
    arguments: Vec<String>,
    lines: Lines,
    complaints: Lines,
    pub(crate) url: String,
    pub(crate) client: Client,
}

type Lines = Arc<Mutex<Vec<String>>>;

/// What came back.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

/// How a node ended, and what it said.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) complaint: String,
}

fn launch(arguments: &[String]) -> Child {
    let mut arguments = arguments.to_vec();
    if !arguments.iter().any(|argument| argument == "--listen") {
        arguments.extend(["--listen".to_owned(), "127.0.0.1:0".to_owned()]);
    }
    let mut program = crate::program(&arguments);
    program.env_remove("NATS_URL").env_remove("REDIS_URL");
    program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// Keeps what a process says, so that it never waits for a reader.
fn collect(from: impl Read + Send + 'static) -> Lines {
    let lines = Lines::default();
    let kept = Arc::clone(&lines);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    lines
}

impl Node {
    /// Starts a node and waits until it listens.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::start_with(arguments.iter().map(|&argument| argument.to_owned()).collect()).await
    }

    async fn start_with(arguments: Vec<String>) -> Self {
        let mut child = launch(&arguments);
        let lines = collect(child.stdout.take().expect("it is piped"));
        let complaints = collect(child.stderr.take().expect("it is piped"));
        let client = Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
        let mut node = Self { child, arguments, lines, complaints, url: String::new(), client };
        let address = eventually_within(READY_WITHIN, "the node listens", async || {
            node.said(" listens on ").ok_or_else(|| (node.lines(), node.complaints()))
        });
        let line = address.await;
        let (_, address) = line.split_once(" listens on ").expect("it was looked for");
        let address = address.split(' ').next().expect("a first word");
        node.url = format!("http://{address}");
        node
    }

    /// Three nodes on these servers, all ready.
    pub(crate) async fn three(nats: &NatsServer, redis: Option<&RedisServer>) -> [Self; 3] {
        let [a, b, c] = ["node1", "node2", "node3"].map(|id| Self::one(id, nats, redis));
        let nodes = tokio::join!(a, b, c);
        let nodes = [nodes.0, nodes.1, nodes.2];
        for node in &nodes {
            node.ready().await;
        }
        nodes
    }

    pub(crate) async fn one(id: &str, nats: &NatsServer, redis: Option<&RedisServer>) -> Self {
        let (nats, redis) = (nats.url(), redis.map(RedisServer::url));
        let mut arguments = vec!["--node", id, "--nats", &nats];
        arguments.extend(redis.iter().flat_map(|url| ["--redis", url]));
        Self::start(&arguments).await
    }

    /// Starts it again as it was started, under its id.
    pub(crate) async fn start_again(&self) -> Self {
        let node = Self::start_with(self.arguments.clone()).await;
        node.ready().await;
        node
    }

    pub(crate) async fn ready(&self) {
        let ready = async || {
            let answer = self.get("/readyz").await;
            if answer.status == 200 { Ok(()) } else { Err((answer, self.lines())) }
        };
        eventually_within(READY_WITHIN, "the node is ready", ready).await;
    }

    /// The first line it said that holds this.
    pub(crate) fn said(&self, part: &str) -> Option<String> {
        self.lines().into_iter().find(|line| line.contains(part))
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What it wrote to its standard error, panics included.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("it ends");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(id).expect("not zero"), signal).expect("it runs");
    }

    /// Waits until it ended by itself, and all it said was read.
    pub(crate) async fn ended(&mut self, within: Duration) -> ExitStatus {
        let child = &mut self.child;
        let mut ask = || child.try_wait().expect("it is ours");
        let status = eventually_within(within, "the node ends", move || std::future::ready(ask())).await;
        let kept = [&self.lines, &self.complaints];
        eventually("all it said is read", async || kept.iter().all(|lines| Arc::strong_count(lines) == 1))
            .await;
        status
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path)).await.expect("an answer")
    }

    /// Tries to place the order of the README under a key.
    pub(crate) async fn place(&self, key: &str) -> reqwest::Result<Answer> {
        answer(self.request(Method::POST, "/orders").header("Idempotency-Key", key).json(&order())).await
    }

    pub(crate) async fn ship(&self, id: &str) -> Answer {
        answer(self.request(Method::POST, &format!("/orders/{id}/ship"))).await.expect("an answer")
    }

    pub(crate) async fn events(&self) -> Vec<Value> {
        self.get("/events").await.json().as_array().expect("a list").clone()
    }

    /// The ids of all orders, page by page.
    pub(crate) async fn orders(&self) -> Vec<String> {
        let (mut ids, mut path) = (Vec::new(), "/orders?limit=100".to_owned());
        loop {
            let page = self.get(&path).await.json();
            let orders = page["orders"].as_array().unwrap_or_else(|| panic!("{page}"));
            ids.extend(orders.iter().map(|order| order["orderId"].as_str().expect("an id").to_owned()));
            let Some(next) = page["next"].as_str() else { return ids };
            path = format!("/orders?limit=100&after={next}");
        }
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub(crate) fn text_of(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}

/// Runs a node that cannot start, until it gives up.
pub(crate) async fn refused(arguments: &[&str]) -> Ended {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let mut child = launch(&arguments);
    let said = collect(child.stdout.take().expect("it is piped"));
    let complaints = collect(child.stderr.take().expect("it is piped"));
    let mut ask = || child.try_wait().expect("it is ours");
    let status =
        eventually_within(Duration::from_secs(5), "the start ends", move || std::future::ready(ask())).await;
    let lines = |lines: &Lines| lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n");
    eventually("its complaint is read", async || !lines(&complaints).is_empty()).await;
    println!("{}", lines(&said));
    Ended { status, complaint: lines(&complaints) }
}

async fn answer(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answer { status, headers, text: response.text().await? })
}

fn order() -> Value {
    json!({
        "customerId": "CUST-001",
        "items": [{ "productId": "PROD-001", "productName": "Laptop", "quantity": 1, "unitPrice": 999.99 }],
    })
}
