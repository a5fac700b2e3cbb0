//! Everything that can be wrong with an app's wiring, found before anything runs.
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
};

use super::{App, Built, Discover};
use crate::{
    InProcess, MessageKind, NodeIdentity, OnDead, Stores, Wiring,
    catalog::{Entry, MessageEntry},
    config::is_name,
    endpoint::HandlerInfo,
    forward::ByTransport,
    leading::Leading,
    registry::Registered,
    singleton::Singletons,
    stores_in_process,
};

/// Why an app cannot be built: everything that is wrong, at once.
pub struct BuildError {
    app: String,
    problems: Vec<String>,
}

impl BuildError {
    /// Each problem, with its places.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the app `{}` cannot be built:", self.app)?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n- {problem}"))
    }
}

/// As `Display`, so that `unwrap` and `main` show the whole text.
impl fmt::Debug for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BuildError {}

pub(super) fn build(mut app: App) -> Result<Built, BuildError> {
    wire(&mut app);
    let node = app.node.take().unwrap_or_else(machine_name);
    let mut problems = std::mem::take(&mut app.problems);
    problems.extend(app.config.problems());
    problems.extend(bad_names(&app.name, &node));
    let infos: Vec<&HandlerInfo> = app.registry.handlers.iter().map(|h| &h.info).collect();
    problems.extend(twice_handled(&infos));
    problems.extend(misplaced_options(&infos));
    problems.extend(without_cluster(&app, &infos));
    problems.extend(bad_singletons(&app));
    problems.extend(shared_names());
    problems.extend(unhandled(&app));
    let transport = app.transport.take().unwrap_or_else(|| Arc::new(InProcess::new()));
    let stores = app.stores.take().unwrap_or_else(stores_in_process);
    if transport.capability().networked {
        problems.extend(process_local(&infos, &stores));
    }
    if !problems.is_empty() {
        return Err(BuildError { app: app.name, problems });
    }
    let led = infos.iter().any(|info| info.options.leader.is_some()) || !app.singletons.is_empty();
    let leading = app.coordinator.take().map(|coordinator| {
        let forwarder = app.forwarder.take().unwrap_or_else(|| Arc::new(ByTransport(transport.clone())));
        let singletons = Singletons::new(std::mem::take(&mut app.singletons));
        Leading::new(coordinator, forwarder, app.config.forward_timeout, singletons, led)
    });
    let identity = NodeIdentity { namespace: app.config.namespace.clone(), service: app.name, node };
    let registered: Vec<Registered> = app.registry.handlers;
    Ok(Built { identity, config: app.config, transport, stores, leading, registered, wraps: app.wraps })
}

/// Builds the services and functions out of the state.
fn wire(app: &mut App) {
    let mut wiring = Wiring::new(&app.state);
    let mut wired = app.by_hand.clone();
    for (id, name, at) in &app.functions {
        match inventory::iter::<Entry>().find(|e| (e.type_id)() == *id) {
            Some(entry) => (entry.wire)(&mut wiring, &mut app.registry),
            None => wiring
                .missing
                .push(format!("`{name}` is not a handler ({at}): put `#[handler]` on the function")),
        }
        wired.insert(*id);
    }
    let mut found: Vec<_> = inventory::iter::<Entry>()
        .filter(|entry| match &app.discover {
            Discover::Nothing => false,
            Discover::Everything => true,
            Discover::Crates(names) => names.contains(&entry.crate_name()),
        })
        .collect();
    found.sort_by_key(|entry| (entry.module, entry.at.line(), entry.title));
    for entry in found {
        if wired.insert((entry.type_id)()) {
            (entry.wire)(&mut wiring, &mut app.registry);
        }
    }
    app.problems.extend(wiring.missing);
}

fn bad_names(service: &str, node: &str) -> Vec<String> {
    [("service name", service), ("node id", node)]
        .into_iter()
        .filter(|(_, name)| !is_name(name))
        .map(|(what, name)| {
            format!("the {what} `{name}` has letters, digits, `-` and `_` only, 1 to 64 of them")
        })
        .collect()
}

fn twice_handled(infos: &[&HandlerInfo]) -> Vec<String> {
    let mut by_name: BTreeMap<&str, Vec<&HandlerInfo>> = BTreeMap::new();
    for info in infos.iter().filter(|info| info.kind != MessageKind::Event) {
        by_name.entry(info.name).or_default().push(info);
    }
    let twice = by_name.into_iter().filter(|(_, infos)| infos.len() > 1);
    twice
        .map(|(name, infos)| {
            let (count, kind) = (infos.len(), infos[0].kind.word());
            let places = infos.iter().map(|info| format!("\n    {} at {}", info.title, info.at));
            format!("{count} handlers for the {kind} `{name}`, which has one:{}", places.collect::<String>())
        })
        .collect()
}

/// What the macros refuse, and what a hand-written registration can still get wrong.
fn misplaced_options(infos: &[&HandlerInfo]) -> Vec<String> {
    let mut problems = Vec::new();
    for info in infos {
        let (title, at, kind) = (&info.title, info.at, info.kind.word());
        let options = &info.options;
        if let (Some(group), true) = (options.group, info.kind != MessageKind::Event) {
            problems.push(format!(
                "`{title}` at {at} handles a {kind} in the group `{group}`: remove `group`, one node handles a {kind} anyway"
            ));
        }
        if options.view && (info.kind != MessageKind::Event || options.group.is_some()) {
            problems
                .push(format!("`{title}` at {at} is a `view`, which is for events and without a `group`"));
        }
        if options.group.is_some_and(|group| !is_name(group)) {
            problems.push(format!("the group of `{title}` at {at} has letters, digits, `-` and `_` only"));
        }
        let retried = info.kind != MessageKind::Query;
        if options.on_dead == OnDead::Park && (!retried || options.view) {
            problems.push(format!(
                "`{title}` at {at} says `on_dead`, which is for what has dead letters: events, but not those of a view, and commands"
            ));
        }
        if !retried && (options.attempts.is_some() || options.backoff.is_some()) {
            problems.push(format!(
                "`{title}` at {at} says `attempts` or `backoff`, and a query is never repeated: remove them"
            ));
        }
        if options.attempts == Some(0) {
            problems.push(format!("`{title}` at {at} has `attempts = 0`: it runs at least once"));
        }
        if options.leader.is_some() && info.kind == MessageKind::Event {
            problems.push(format!(
                "`{title}` at {at} says `leader`, which is for commands and queries: use `group` to have one node handle an event"
            ));
        }
    }
    let mut titles: HashMap<(&str, &str), &HandlerInfo> = HashMap::new();
    for info in infos.iter().filter(|info| info.kind == MessageKind::Event) {
        if let Some(first) = titles.insert((info.name, &info.title), info) {
            problems.push(format!(
                "two handlers of `{}` are called `{}`, and a handler's marks are kept under its name:\n    {}\n    {}",
                info.name, info.title, first.at, info.at
            ));
        }
    }
    problems
}

/// What is for the leader needs a cluster that has one.
fn without_cluster(app: &App, infos: &[&HandlerInfo]) -> Vec<String> {
    if app.coordinator.is_some() {
        return Vec::new();
    }
    let led = infos.iter().filter(|info| info.options.leader.is_some() && info.kind != MessageKind::Event);
    let handlers = led
        .map(|info| format!("`{}` at {} wants the leader, and this app has no cluster", info.title, info.at));
    let singletons = app.singletons.iter();
    let singletons = singletons
        .map(|(name, _)| format!("the singleton `{name}` runs on the leader, and this app has no cluster"));
    handlers.chain(singletons).collect()
}

fn bad_singletons(app: &App) -> Vec<String> {
    let mut problems = Vec::new();
    for (n, (name, _)) in app.singletons.iter().enumerate() {
        if !is_name(name) {
            problems.push(format!(
                "the singleton's name `{name}` has letters, digits, `-` and `_` only, 1 to 64 of them"
            ));
        }
        if app.singletons[..n].iter().any(|(earlier, _)| earlier == name) {
            problems.push(format!("two singletons are called `{name}`"));
        }
    }
    problems
}

fn shared_names() -> Vec<String> {
    let mut names: BTreeMap<&str, Vec<&MessageEntry>> = BTreeMap::new();
    for entry in inventory::iter::<MessageEntry>() {
        names.entry(entry.name).or_default().push(entry);
    }
    let shared = names.into_iter().filter(|(_, entries)| entries.len() > 1);
    shared
        .map(|(name, entries)| {
            let line = |e: &&MessageEntry| format!("\n    {} {} at {}", e.kind.word(), (e.type_name)(), e.at);
            let places: String = entries.iter().map(line).collect();
            format!("{} message types with the wire name `{name}`:{places}", entries.len())
        })
        .collect()
}

fn unhandled(app: &App) -> Vec<String> {
    let handled = |id| app.registry.handlers.iter().any(|h| h.info.message == id);
    let missing = app.expected.iter().filter(|expected| !handled((expected.type_id)()));
    missing
        .map(|expected| {
            let (kind, name, typed) = (expected.kind.word(), expected.name, (expected.type_name)());
            format!(
                "no handler for the {kind} `{name}` (`{typed}`): add its service, or link its crate with `use the_crate as _;`"
            )
        })
        .collect()
}

fn process_local(infos: &[&HandlerInfo], stores: &Stores) -> Vec<String> {
    if stores.claims.is_shared() {
        return Vec::new();
    }
    let needy = infos.iter().filter(|info| info.idempotent || info.options.group.is_some());
    needy
        .map(|info| {
            format!(
                "`{}` at {} must run once over all nodes, and the stores are local to this process: add `.stores(..)` with NATS or Redis ones",
                info.title, info.at
            )
        })
        .collect()
}

/// What the machine is called, when nobody names the node.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let fits = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    let name: String = name.trim().chars().map(fits).take(64).collect();
    if name.is_empty() { "node".to_owned() } else { name }
}
