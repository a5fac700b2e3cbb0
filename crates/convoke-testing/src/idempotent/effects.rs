use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use convoke_core::{Bus, Codec, Limits, StoredOutcome, fingerprint};
use uuid::Uuid;

use super::diff::diff;
use crate::outside::{Effect, Record, Stored};

/// What is shown of an outcome that differs by itself.
const UNSTABLE: &str = "(differs from run to run, and is not compared)";

/// What one run left behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Effects {
    /// Of each kind and name, the ids, and the contents under each.
    messages: BTreeMap<(&'static str, &'static str), BTreeMap<Uuid, BTreeSet<u128>>>,
    /// By the claim.
    outcomes: BTreeMap<String, String>,
    /// Each once: that a letter may be written again is the framework's doing, not the handler's.
    dead: BTreeSet<String>,
    probe: String,
}

impl Effects {
    pub(super) fn of(record: &Record, bus: &Bus, probe: String) -> Self {
        let mut effects = Self { probe, ..Self::default() };
        for effect in &record.done {
            match effect {
                Effect::Published(stored) => effects.add("published", stored),
                Effect::Enqueued(stored) => effects.add("enqueued", stored),
                Effect::Completed { key, outcome } => {
                    effects.outcomes.insert(key.scope.clone(), shown(outcome));
                }
                _ => {}
            }
        }
        for letter in bus.dead_letters() {
            let why = letter.errors.first().map_or("", |error| error);
            let line = format!("dead letter `{}` by {}: {why}", letter.message.name, letter.handler);
            effects.dead.insert(line);
        }
        effects
    }

    fn add(&mut self, kind: &'static str, stored: &Stored) {
        // The fingerprint knows no order of a map's entries.
        let content = fingerprint(stored.name, &stored.content);
        let ids = self.messages.entry((kind, stored.name)).or_default();
        ids.entry(stored.id).or_default().insert(content);
    }

    /// The effects of a run without a death, when nothing failed in it.
    pub(super) fn sound(self, name: &str) -> Result<Self, String> {
        match self.dead.iter().find(|line| !line.contains(": refused: ")) {
            Some(line) => Err(format!("`{name}` fails without any death: {line}")),
            None => Ok(self),
        }
    }

    /// The same, without what differs between two runs of which none had a death.
    pub(super) fn stable_beside(mut self, other: &Self) -> Result<Self, String> {
        for (key, outcome) in &mut self.outcomes {
            if other.outcomes.get(key) != Some(outcome) {
                UNSTABLE.clone_into(outcome);
            }
        }
        let unstable = self.diff(other);
        unstable.map_or(Ok(self), |diff| {
            Err(format!(
                "two runs without a death differ: leave out of the probe what changes by itself\n\n{diff}"
            ))
        })
    }

    /// What differs, for a person; `None` when nothing does.
    pub(super) fn diff(&self, other: &Self) -> Option<String> {
        let mut other = other.clone();
        for (key, outcome) in &mut other.outcomes {
            if self.outcomes.get(key).is_some_and(|ours| ours == UNSTABLE) {
                UNSTABLE.clone_into(outcome);
            }
        }
        diff(&self.to_string(), &other.to_string())
    }
}

impl std::fmt::Display for Effects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ((kind, name), ids) in &self.messages {
            let contents = ids.values().map(BTreeSet::len).sum::<usize>();
            write!(f, "{kind} `{name}`: {} messages", ids.len())?;
            if contents > ids.len() {
                write!(f, ", with {contents} different contents under their ids")?;
            }
            f.write_char('\n')?;
        }
        for (scope, outcome) in &self.outcomes {
            writeln!(f, "outcome of {scope}: {outcome}")?;
        }
        for line in &self.dead {
            writeln!(f, "{line}")?;
        }
        if !self.probe.is_empty() {
            writeln!(f, "the probe shows:\n{}", self.probe)?;
        }
        Ok(())
    }
}

/// An outcome as a person reads it.
fn shown(outcome: &StoredOutcome) -> String {
    let how = if outcome.rejected { "refused with" } else { "replied" };
    let value = Codec::MessagePack.decode::<serde_json::Value>(&outcome.answer, &Limits::default());
    match value {
        Ok(value) => format!("{how} {value}"),
        Err(_) => format!("{how} {} bytes, {:x}", outcome.answer.len(), fingerprint("", &outcome.answer)),
    }
}
