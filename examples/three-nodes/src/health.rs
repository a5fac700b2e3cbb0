//! What load balancers ask: does this node lead, or does it follow?
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use convoke::http::fallbacks;
use convoke_cluster::{CoordinatorHealth, Leadership, kv};
use serde::Serialize;

/// The node, as it tells about itself.
#[derive(Debug, Clone)]
pub struct Health {
    cluster: Cluster,
    leaving: Arc<AtomicBool>,
}

type Cluster = convoke_cluster::Cluster<kv::Machine>;

/// What a node is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    Leader,
    Follower,
    /// It knows no leader, or it is about to stop: nobody should come here.
    None,
}

#[derive(Debug, Serialize)]
struct Standing {
    node: Option<u64>,
    role: Role,
    term: Option<u64>,
    leader: Option<String>,
}

#[derive(Debug, Serialize)]
struct Report {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(flatten)]
    standing: Standing,
    members: Vec<Member>,
}

#[derive(Debug, Serialize)]
struct Member {
    node: u64,
    name: String,
    address: String,
    leads: bool,
}

impl Health {
    /// Of this node.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, leaving: Arc::default() }
    }

    /// From now on this node is neither leader nor follower: it is about to stop.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
    }

    /// All routes.
    pub fn router(self) -> Router {
        let routes = Router::new()
            .route("/primary", get(primary))
            .route("/replica", get(replica))
            .route("/health", get(report))
            .route("/livez", get(async || "alive"));
        fallbacks(routes).with_state(self)
    }

    fn standing(&self) -> Standing {
        let leadership = self.cluster.leadership().borrow().clone();
        let (role, term, leader) = match leadership {
            Leadership::Leader { term } => {
                (Role::Leader, Some(term), self.cluster.leader().map(|leader| leader.node))
            }
            Leadership::Follower { leader } => (Role::Follower, Some(leader.term), Some(leader.node)),
            Leadership::NoLeader => (Role::None, None, None),
        };
        let role = if self.leaving.load(Ordering::Relaxed) { Role::None } else { role };
        Standing { node: self.cluster.node_id(), role, term, leader }
    }

    fn is(&self, role: Role) -> (StatusCode, Json<Standing>) {
        let standing = self.standing();
        let status = if standing.role == role { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(standing))
    }
}

async fn primary(State(health): State<Health>) -> (StatusCode, Json<Standing>) {
    health.is(Role::Leader)
}

async fn replica(State(health): State<Health>) -> (StatusCode, Json<Standing>) {
    health.is(Role::Follower)
}

async fn report(State(health): State<Health>) -> (StatusCode, Json<Report>) {
    let (code, status, detail) = match health.cluster.health() {
        CoordinatorHealth::Up => (StatusCode::OK, "up", None),
        CoordinatorHealth::Degraded(detail) => (StatusCode::OK, "degraded", Some(detail)),
        CoordinatorHealth::Down(detail) => (StatusCode::SERVICE_UNAVAILABLE, "down", Some(detail)),
    };
    let members = health.cluster.members().into_iter().map(|info| Member {
        node: info.id,
        name: info.member.name,
        address: info.member.raft,
        leads: info.leads,
    });
    (code, Json(Report { status, detail, standing: health.standing(), members: members.collect() }))
}
