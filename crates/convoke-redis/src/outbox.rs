//! What handlers staged: recorded in one script with their outcome, and handed to one relay at a time.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use convoke_core::{
    Batch, Beside, BoxFuture, Commit as Recording, Committed, Hold, Outbox, OutboxStore, Record, Row, Settle,
    StoreError, Stored, StoredOutcome, Taken, Turn, Writes,
};
use uuid::Uuid;

use crate::claims::{ms, texts, wake_up};
use crate::commit::Commit;
use crate::marks::{MARK_BYTES_MAX, RETENTION};
use crate::reply::{Reply, unexpected};
use crate::script::Script;
use crate::slot::Slot;
use crate::stores::Stores;

static COMMIT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/commit.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outbox_take.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outbox_settle.lua")));
static GIVE_BACK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lua/outbox_give_back.lua")));

/// How long a commit without a record is remembered: longer than a call is repeated.
const CALL_RETENTION: Duration = Duration::from_secs(120);

impl OutboxStore for Stores {
    fn slots(&self) -> u16 {
        self.inner.keys.slots()
    }

    fn tag(&self, beside: Beside<'_>) -> Option<String> {
        Some(self.slot_beside(beside).tag())
    }

    fn check(&self, writes: &Writes, beside: Beside<'_>) -> Result<(), StoreError> {
        let slot = commit_in(writes)?.slot(self.inner.keys.slots())?;
        let wanted = self.slot_beside(beside);
        if slot != wanted && !matches!(beside, Beside::Text(_)) {
            let (found, wanted) = (slot.tag(), wanted.tag());
            return Err(StoreError::refused(format!(
                "these writes lie at {found} and the outcome at {wanted}: put what `cx.commit_tag()` tells into the keys"
            )));
        }
        Ok(())
    }

    fn commit<'a>(
        &'a self,
        outbox: &'a Outbox,
        commit: Recording<'a>,
    ) -> BoxFuture<'a, Result<Committed, StoreError>> {
        Box::pin(self.commit_now(outbox, commit))
    }

    fn take<'a>(&'a self, outbox: &'a Outbox, slot: u16) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
            let keys = self.inner.keys.outbox(&outbox.scope, Slot::new(slot));
            let (relay, lease, batch) =
                (outbox.relay.to_string(), ms(outbox.lease), outbox.batch_max.to_string());
            let args = [&*relay, &lease, &batch].map(str::as_bytes);
            taken(self.run(&TAKE, &[&keys.rows, &keys.lease, &keys.parked], &args).await?)
        })
    }

    fn settle<'a>(
        &'a self,
        outbox: &'a Outbox,
        hold: Hold,
        rows: &'a [Settle],
    ) -> BoxFuture<'a, Result<Taken, StoreError>> {
        Box::pin(async move {
            let keys = self.inner.keys.outbox(&outbox.scope, Slot::new(hold.slot));
            let (relay, fence) = (outbox.relay.to_string(), hold.fence.to_string());
            let (lease, batch, count) =
                (ms(outbox.lease), outbox.batch_max.to_string(), rows.len().to_string());
            let mut args: Vec<&[u8]> = [&*relay, &fence, &lease, &batch, &count].map(str::as_bytes).into();
            for Settle { place, parked } in rows {
                args.extend([place.as_bytes(), parked.as_deref().map_or(b"", problem)]);
            }
            taken(self.run(&SETTLE, &[&keys.rows, &keys.lease, &keys.parked], &args).await?)
        })
    }

    fn give_back<'a>(&'a self, outbox: &'a Outbox, hold: Hold) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let keys = self.inner.keys.outbox(&outbox.scope, Slot::new(hold.slot));
            let (relay, fence) = (outbox.relay.to_string(), hold.fence.to_string());
            let args = [&*relay, &fence].map(str::as_bytes);
            self.run(&GIVE_BACK, &[&keys.lease], &args).await.map(drop)
        })
    }
}

impl Stores {
    async fn commit_now(&self, outbox: &Outbox, commit: Recording<'_>) -> Result<Committed, StoreError> {
        let Recording { record, rows, writes } = commit;
        let writes = writes.iter().map(commit_in).collect::<Result<Vec<_>, _>>()?;
        let slot = self.slot_of(record, &writes)?;
        if rows.iter().any(|row| row.bytes.len() > Row::BYTES_MAX) {
            return Err(StoreError::refused("a row of the outbox is larger than 8 MiB"));
        }
        let (key, mut args) = self.record_args(record, slot)?;
        args.extend([&*outbox.relay.to_string(), &*ms(outbox.lease)].map(Vec::from));
        args.extend([outbox.rows_max.to_string(), rows.len().to_string()].map(String::into_bytes));
        for row in rows {
            args.extend([row.id.to_string().into_bytes(), row.bytes.to_vec()]);
        }
        let outbox_keys = self.inner.keys.outbox(&outbox.scope, slot);
        let mut keys = vec![&*key, &*outbox_keys.rows, &*outbox_keys.lease];
        let count =
            |of: fn((usize, usize)) -> usize| writes.iter().map(|commit| of(commit.counts())).sum::<usize>();
        args.push(count(|(conditions, _)| conditions).to_string().into_bytes());
        writes.iter().for_each(|commit| commit.conditions(&mut keys, &mut args));
        args.push(count(|(_, writes)| writes).to_string().into_bytes());
        writes.iter().for_each(|commit| commit.writes(&mut keys, &mut args));
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        committed(self.run(&COMMIT, &keys, &args).await?, slot)
    }

    /// The key of the record, and what the script is told about it: its kind and seven values.
    fn record_args(&self, record: Record<'_>, slot: Slot) -> Result<(String, Vec<Vec<u8>>), StoreError> {
        let (key, mut args): (_, Vec<Vec<u8>>) = match record {
            Record::Claim { key, holder, outcome, retention } => {
                if outcome.answer.len() > StoredOutcome::BYTES_MAX {
                    let (len, max) = (outcome.answer.len(), StoredOutcome::BYTES_MAX);
                    return Err(StoreError::refused(format!(
                        "an answer of {len} bytes is larger than {max}"
                    )));
                }
                let keys = self.inner.keys.claim(key);
                let (owner, fence) = texts(holder);
                let state = if outcome.rejected { "rejected" } else { "replied" };
                let (wake_up, channel) = (wake_up(&keys), self.inner.channel.clone());
                let mut args =
                    vec!["claim".into(), owner.into(), fence.into(), state.into(), outcome.answer.to_vec()];
                args.extend([ms(retention), channel, wake_up].map(String::into_bytes));
                (keys.record, args)
            }
            Record::Marks { scope, record, expected } => {
                if record.len() > MARK_BYTES_MAX {
                    let len = record.len();
                    return Err(StoreError::refused(format!(
                        "a mark of {len} bytes is larger than {MARK_BYTES_MAX}"
                    )));
                }
                let expected = expected.map(|version| version.to_string()).unwrap_or_default();
                let mut args = vec!["marks".into(), expected.into_bytes(), record.to_vec()];
                args.extend([Uuid::now_v7().to_string(), ms(RETENTION)].map(String::into_bytes));
                (self.inner.keys.mark(scope), args)
            }
            Record::Alone { call, .. } => {
                (self.inner.keys.call(call, slot), vec!["alone".into(), ms(CALL_RETENTION).into_bytes()])
            }
        };
        args.resize(RECORD_ARGS, Vec::new());
        Ok((key, args))
    }

    fn slot_of(&self, record: Record<'_>, writes: &[&Commit]) -> Result<Slot, StoreError> {
        let beside = match record {
            Record::Claim { key, .. } => Beside::Claim(key),
            Record::Marks { scope, .. } => Beside::Marks(scope),
            Record::Alone { near, .. } => Beside::Text(near),
        };
        let mut slot = None;
        for commit in writes {
            let found = commit.slot(self.inner.keys.slots())?;
            if *slot.get_or_insert(found) != found {
                return Err(StoreError::refused("the writes of one handler carry several tags"));
            }
        }
        let wanted = self.slot_beside(beside);
        match (slot, beside) {
            (Some(slot), Beside::Text(_)) => Ok(slot),
            (Some(slot), _) if slot != wanted => {
                Err(StoreError::refused("the writes lie elsewhere than the outcome"))
            }
            _ => Ok(wanted),
        }
    }

    fn slot_beside(&self, beside: Beside<'_>) -> Slot {
        let keys = &self.inner.keys;
        match beside {
            Beside::Claim(key) => keys.slot_of_claim(key),
            Beside::Marks(text) | Beside::Text(text) => keys.slot_of(text),
        }
    }
}

/// The kind of a record and what is told about it.
const RECORD_ARGS: usize = 8;

fn commit_in(writes: &Writes) -> Result<&Commit, StoreError> {
    writes.get().ok_or_else(|| {
        StoreError::refused("the Redis stores take a `convoke_redis::Commit` and no other writes")
    })
}

fn committed(mut reply: Reply, slot: Slot) -> Result<Committed, StoreError> {
    let state: String = reply.next()?;
    match &*state {
        "stored" => {
            let (version, waiting) = (reply.next()?, reply.next()?);
            let (turn, fence): (String, u64) = (reply.next()?, reply.next()?);
            let turn = match &*turn {
                "yours" => {
                    let places = (0..reply.len()).map(|_| reply.next()).collect::<Result<_, _>>()?;
                    Turn::Yours { fence, places }
                }
                "take" => Turn::Take,
                _ => Turn::Others,
            };
            Ok(Committed::Stored(Stored { version, slot: slot.number(), waiting, turn }))
        }
        "fenced" => Ok(Committed::Fenced),
        "overtaken" => Ok(Committed::Overtaken),
        "full" => Ok(Committed::Full),
        "conflict" => Err(StoreError::conflict()),
        "refused" => {
            let (command, key): (String, String) = (reply.next()?, reply.next()?);
            Err(StoreError::refused(format!("{key:?} holds another type than {command} writes")))
        }
        _ => Err(unexpected(state)),
    }
}

fn taken(mut reply: Reply) -> Result<Taken, StoreError> {
    let (waiting, oldest, parked): (u64, i64, u64) = (reply.next()?, reply.next()?, reply.next()?);
    let fence: u64 = reply.next()?;
    let mut rows = Vec::with_capacity(reply.len() / 3);
    while reply.len() > 0 {
        let (place, id, bytes): (String, String, Vec<u8>) = (reply.next()?, reply.next()?, reply.next()?);
        let id = Uuid::try_parse(&id).map_err(|error| unexpected(error.to_string()))?;
        rows.push((place, Row { id, bytes: Bytes::from(bytes) }));
    }
    let oldest = u64::try_from(oldest).ok().map(Duration::from_millis);
    let batch = (fence > 0 && !rows.is_empty()).then_some(Batch { fence, rows });
    Ok(Taken { waiting, oldest, parked, batch })
}

/// Why a row was put aside, as it is stored: never empty, and not longer than a person reads.
fn problem(text: &str) -> &[u8] {
    const BYTES_MAX: usize = 1000;
    let end = text.floor_char_boundary(BYTES_MAX);
    if end == 0 { b"unknown" } else { &text.as_bytes()[..end] }
}
