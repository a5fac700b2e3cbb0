//! Dead letters: kept with everything, listed, replayed to whom gave them up, dropped.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use convoke_core::{
    Audience, BoxFuture, Consume, ConsumeSpec, DeadLetter, DeadLetters, Incoming, Letter, LetterFilter,
    NodeIdentity, Outgoing, PARKED_MAX, Place, Replay, Settled, Transport,
};

use super::{
    COMMAND, EVENT, Fixture, Listener, OTHER_EVENT, consume, end, envelopes, event, group, node, node_as,
    numbers, outgoing, soon, text,
};
use crate::eventually;

/// Buries each message that comes from a stream, and is done with each that comes back.
struct Burier {
    node: Arc<dyn Transport>,
    name: &'static str,
    audience: Audience,
    first: Arc<Listener>,
    back: Arc<Listener>,
    replays: Mutex<Vec<Replay>>,
    /// Whether it hands back what comes back next.
    hands_back: AtomicBool,
    /// Whether its letters say that they hold their key.
    holds: AtomicBool,
}

impl Burier {
    async fn at(node: &Arc<dyn Transport>, name: &'static str, audience: Audience) -> Arc<Self> {
        Self::of(node, name, audience, &[EVENT]).await
    }

    async fn of(
        node: &Arc<dyn Transport>,
        name: &'static str,
        audience: Audience,
        names: &[&'static str],
    ) -> Arc<Self> {
        let (first, back) = (Listener::done(), Listener::done());
        let burier = Arc::new(Self {
            node: Arc::clone(node),
            name,
            audience: audience.clone(),
            first,
            back,
            replays: Mutex::default(),
            hands_back: AtomicBool::new(false),
            holds: AtomicBool::new(false),
        });
        let spec = ConsumeSpec { audience, names: names.to_vec(), in_flight_max: 64 };
        node.consume(spec, burier.clone()).await.expect("the consumer is attached");
        burier
    }

    fn letter(&self, message: Incoming, replays: u32) -> DeadLetter {
        DeadLetter {
            message,
            handler: "Orders::on_placed".into(),
            node: self.name.into(),
            audience: self.audience.clone(),
            errors: vec!["disk full".into(), "no space left on device\r\nat all — 🍏".into()],
            attempts: 5,
            replays,
            holds: self.holds.load(Ordering::SeqCst),
        }
    }
}

impl Consume for Burier {
    fn consume(&self, incoming: Incoming) -> BoxFuture<'static, Settled> {
        let (node, letter) = (Arc::clone(&self.node), self.letter(incoming.clone(), 0));
        let seen = self.first.consume(incoming);
        Box::pin(async move {
            node.bury(letter, soon()).await.expect("the dead letter is kept");
            seen.await
        })
    }

    fn replay(&self, incoming: Incoming, replay: Replay) -> BoxFuture<'static, Settled> {
        self.replays.lock().expect("no panic before").push(replay);
        let (seen, back) = (self.back.consume(incoming), self.hands_back.swap(false, Ordering::SeqCst));
        Box::pin(async move { if back { Settled::HandBack } else { seen.await } })
    }
}

fn letters_of(node: &Arc<dyn Transport>) -> Arc<dyn DeadLetters> {
    node.dead_letters().expect("the transport shows its dead letters")
}

async fn list(letters: &dyn DeadLetters, filter: &LetterFilter) -> Vec<Letter> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page = letters.list(filter, after, 7, soon()).await.expect("they are listed");
        assert!(page.letters.len() <= 7);
        all.extend(page.letters);
        let Some(next) = page.next else { return all };
        after = next;
    }
}

async fn there_are(letters: &dyn DeadLetters, count: usize) -> Vec<Letter> {
    eventually("the letters lie there", || async {
        let found = list(letters, &LetterFilter::all()).await;
        if found.len() == count { Ok(found) } else { Err(found.len()) }
    })
    .await
}

fn texts(letters: &[Letter]) -> Vec<String> {
    letters.iter().map(|letter| text(&letter.letter.message.payload)).collect()
}

async fn publish(node: &dyn Transport, message: Outgoing) {
    node.publish(message, soon()).await.expect("it is stored");
}

pub async fn a_letter_shows_everything_that_is_known<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let burier = Burier::at(&only, "n1", Audience::Node).await;
    let sent = envelopes::full();
    publish(&*only, Outgoing { envelope: sent.clone(), ..event("poison") }).await;
    let letters = letters_of(&only);
    let listed = there_are(&*letters, 1).await;
    let shown = letters.show(listed[0].number, soon()).await.expect("it answers").expect("it is there");
    for Letter { letter, service, .. } in [&listed[0], &shown] {
        assert_eq!((service.as_str(), &*letter.message.name), ("orders", EVENT));
        assert_eq!(text(&letter.message.payload), "poison");
        envelopes::assert_same(&sent, &letter.message.envelope);
        assert_eq!((letter.handler.as_str(), letter.node.as_str()), ("Orders::on_placed", "n1"));
        assert_eq!((letter.attempts, letter.replays, &letter.audience), (5, 0, &Audience::Node));
        assert_eq!(letter.errors, ["disk full", "no space left on device\r\nat all — 🍏"]);
        assert_eq!(letter.message.position, burier.first.seen()[0].position);
    }
    let age = std::time::SystemTime::now().duration_since(shown.buried_at).unwrap_or_default();
    assert!(age.as_secs() < 60, "{age:?}");
    assert!(letters.show(listed[0].number + 1, soon()).await.expect("it answers").is_none());
}

pub async fn letters_are_listed_in_pages_and_by_filter<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let other = node_as(fixture, &NodeIdentity { service: "another".into(), ..fixture.identity("n2") }).await;
    let _orders = Burier::of(&only, "n1", Audience::Node, &[EVENT, OTHER_EVENT]).await;
    let _another = Burier::at(&other, "n2", Audience::Node).await;
    for n in numbers(0..20) {
        publish(&*only, event(&n)).await;
    }
    publish(&*only, Outgoing { name: OTHER_EVENT, ..event("20") }).await;
    let letters = letters_of(&only);
    there_are(&*letters, 41).await;
    let count = async |filter: LetterFilter| list(&*letters, &filter).await.len();
    let all = LetterFilter::all;
    assert_eq!(count(all().service("orders")).await, 21);
    assert_eq!(count(all().service("another").name(EVENT)).await, 20);
    assert_eq!(count(all().name(OTHER_EVENT)).await, 1);
    assert_eq!(count(all().node("n2")).await, 20);
    assert_eq!(
        (count(all().handler("Orders::on_placed")).await, count(all().handler("nobody")).await),
        (41, 0)
    );
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!((count(all().younger_than(day)).await, count(all().older_than(day)).await), (41, 0));
    let mut orders = texts(&list(&*letters, &all().service("orders").name(EVENT)).await);
    orders.sort_by_key(|text| text.parse::<usize>().unwrap_or_default());
    assert_eq!(orders, numbers(0..20));
}

pub async fn a_replay_goes_to_the_node_that_failed_and_to_nobody_else<F: Fixture>(fixture: &F) {
    let (one, two) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let burier = Burier::at(&one, "n1", Audience::Node).await;
    let (handled, grouped) = (Listener::done(), Listener::done());
    consume(&*two, Audience::Node, handled.clone()).await;
    consume(&*two, group("billing"), grouped.clone()).await;
    publish(&*two, event("poison")).await;
    let letters = letters_of(&two);
    let letter = there_are(&*letters, 1).await.remove(0);
    handled.has_seen(1).await;
    grouped.has_seen(1).await;
    assert!(letters.replay(letter.number, soon()).await.expect("it is replayed"));
    burier.back.has_seen(1).await;
    let (first, back) = (&burier.first.seen()[0], &burier.back.seen()[0]);
    assert_eq!((first.envelope.id(), first.position), (back.envelope.id(), back.position));
    assert_eq!((&first.name, text(&back.payload)), (&back.name, "poison".to_owned()));
    let replay = burier.replays.lock().expect("no panic before")[0].clone();
    assert_eq!((replay.handler.as_str(), replay.number), ("Orders::on_placed", 1));
    assert_eq!(list(&*letters, &LetterFilter::all()).await.len(), 0, "it is gone");
    assert!(!letters.replay(letter.number, soon()).await.expect("it answers"), "and not twice");
    publish(&*two, event("last")).await;
    handled.has_seen_text("last").await;
    grouped.has_seen_text("last").await;
    assert_eq!(
        (handled.texts(), grouped.texts()),
        (vec!["poison".into(), "last".into()], vec!["poison".into(), "last".into()])
    );
    assert_eq!(burier.back.texts(), ["poison"]);
}

pub async fn a_replay_goes_to_one_member_of_the_group_that_failed<F: Fixture>(fixture: &F) {
    let (one, two) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let members =
        [Burier::at(&one, "n1", group("billing")).await, Burier::at(&two, "n2", group("billing")).await];
    let others = Burier::at(&one, "n1", group("shipping")).await;
    for n in numbers(0..10) {
        publish(&*one, event(&n)).await;
    }
    let letters = letters_of(&one);
    let of_billing =
        there_are(&*letters, 20).await.into_iter().filter(|l| l.letter.audience == group("billing"));
    for letter in of_billing {
        assert!(letters.replay(letter.number, soon()).await.expect("it is replayed"));
    }
    eventually("each came back once", || async {
        let mut texts: Vec<_> = members.iter().flat_map(|member| member.back.texts()).collect();
        texts.sort();
        if texts == numbers(0..10) { Ok(()) } else { Err(texts) }
    })
    .await;
    assert!(others.back.texts().is_empty(), "{:?}", others.back.texts());
}

pub async fn a_replayed_job_goes_to_one_node_of_its_service<F: Fixture>(fixture: &F) {
    let (one, two) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let first = Burier::of(&one, "n1", Audience::Jobs, &[COMMAND]).await;
    let second = Burier::of(&two, "n2", Audience::Jobs, &[COMMAND]).await;
    for n in numbers(0..6) {
        let job = outgoing(COMMAND, convoke_core::MessageKind::Event, &n); // nobody waits for it
        let job = Outgoing { kind: convoke_core::MessageKind::Command, ..job };
        one.enqueue(job, None, soon()).await.expect("it is stored");
    }
    let letters = letters_of(&one);
    for letter in there_are(&*letters, 6).await {
        assert!(letters.replay(letter.number, soon()).await.expect("it is replayed"));
    }
    eventually("each came back once", || async {
        let mut texts = [first.back.texts(), second.back.texts()].concat();
        texts.sort();
        if texts == numbers(0..6) { Ok(()) } else { Err(texts) }
    })
    .await;
}

pub async fn a_replay_waits_for_a_node_that_is_away<F: Fixture>(fixture: &F) {
    let (caller, one) = (node(fixture, "caller").await, node(fixture, "n1").await);
    Burier::at(&one, "n1", Audience::Node).await;
    publish(&*caller, event("poison")).await;
    let letters = letters_of(&caller);
    let letter = there_are(&*letters, 1).await.remove(0);
    end(&*one).await;
    drop(one);
    assert!(letters.replay(letter.number, soon()).await.expect("it is replayed"));
    let again = node(fixture, "n1").await;
    let burier = Burier::at(&again, "n1", Audience::Node).await;
    burier.back.has_seen(1).await;
    assert_eq!(burier.back.texts(), ["poison"]);
    assert!(burier.first.texts().is_empty(), "it does not come as a first delivery");
}

pub async fn a_replay_that_is_handed_back_comes_again<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let burier = Burier::at(&only, "n1", Audience::Node).await;
    burier.hands_back.store(true, Ordering::SeqCst);
    publish(&*only, event("again")).await;
    let letters = letters_of(&only);
    let letter = there_are(&*letters, 1).await.remove(0);
    assert!(letters.replay(letter.number, soon()).await.expect("it is replayed"));
    burier.back.has_seen(2).await;
    assert_eq!(burier.back.texts(), ["again", "again"]);
}

pub async fn a_dropped_letter_is_gone<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let burier = Burier::at(&only, "n1", Audience::Node).await;
    for n in numbers(0..3) {
        publish(&*only, event(&n)).await;
    }
    let letters = letters_of(&only);
    let found = there_are(&*letters, 3).await;
    let middle =
        found.iter().find(|letter| text(&letter.letter.message.payload) == "1").expect("it is there");
    assert!(letters.discard(middle.number, soon()).await.expect("it is dropped"));
    assert!(!letters.discard(middle.number, soon()).await.expect("it answers"), "once");
    assert!(!letters.replay(middle.number, soon()).await.expect("it answers"), "nor can it come back");
    assert!(letters.show(middle.number, soon()).await.expect("it answers").is_none());
    let mut left = texts(&list(&*letters, &LetterFilter::all()).await);
    left.sort();
    assert_eq!((left, burier.back.texts()), (vec!["0".to_owned(), "2".to_owned()], vec![]));
}

pub async fn a_failure_that_is_told_twice_is_one_letter<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let burier = Burier::at(&only, "n1", Audience::Node).await;
    publish(&*only, event("poison")).await;
    let letters = letters_of(&only);
    there_are(&*letters, 1).await;
    let message = burier.first.seen()[0].clone();
    for replays in [0, 1, 1] {
        only.bury(burier.letter(message.clone(), replays), soon()).await.expect("it is kept or known");
    }
    let replays: Vec<_> = there_are(&*letters, 2).await.iter().map(|letter| letter.letter.replays).collect();
    assert_eq!(replays, [0, 1], "a failed replay is a letter of its own");
}

pub async fn a_dropped_letter_that_holds_its_key_tells_its_handler<F: Fixture>(fixture: &F) {
    let only = node(fixture, "n1").await;
    let burier = Burier::at(&only, "n1", Audience::Node).await;
    burier.holds.store(true, Ordering::SeqCst);
    publish(&*only, event("poison")).await;
    let letters = letters_of(&only);
    let letter = there_are(&*letters, 1).await.remove(0);
    assert!(letter.letter.holds);
    assert!(letters.discard(letter.number, soon()).await.expect("it is dropped"));
    burier.back.has_seen(1).await;
    let replay = burier.replays.lock().expect("no panic before")[0].clone();
    assert!(replay.skip && replay.holds, "{replay:?}");
    assert_eq!(list(&*letters, &LetterFilter::all()).await.len(), 0);
}

pub async fn what_is_parked_stays_in_order_and_is_bounded<F: Fixture>(fixture: &F) {
    let (one, two) = (node(fixture, "n1").await, node(fixture, "n2").await);
    let burier = Burier::at(&one, "n1", Audience::Node).await;
    publish(&*one, event("message")).await;
    burier.first.has_seen(1).await;
    let message = burier.first.seen()[0].clone();
    let place = |word: &str| Place { name: EVENT.into(), target: "group.billing".into(), word: word.into() };
    let (here, there) = (place("here"), place("there"));
    let [parks, looks] = [&one, &two].map(|node| node.parking().expect("it keeps what is parked"));
    let head = message.envelope.id();
    let letter = |n: usize| {
        let mut letter = burier.letter(message.clone(), 0);
        letter.message.envelope.set_id(uuid::Uuid::from_u128(n as u128 + 1));
        letter
    };
    let empty = looks.look(&here, soon()).await.expect("it is seen");
    assert!(empty.head.is_none() && empty.first.is_none());
    parks.hold(&here, Some(head), soon()).await.expect("it is held");
    assert_eq!(looks.look(&here, soon()).await.expect("it is seen").head, Some(head));
    assert_eq!(looks.look(&there, soon()).await.expect("it is seen").head, None, "another key is free");
    for n in 0..PARKED_MAX {
        assert!(parks.park(&here, letter(n), soon()).await.expect("it is parked"), "{n}");
    }
    assert!(parks.park(&here, letter(3), soon()).await.expect("it is known"));
    assert!(!parks.park(&here, letter(PARKED_MAX), soon()).await.expect("it answers"), "it is full");
    assert!(
        parks.park(&there, letter(PARKED_MAX), soon()).await.expect("it is parked"),
        "and others are not"
    );
    parks.hold(&here, None, soon()).await.expect("it is let go");
    for n in 0..5 {
        let parked = looks.look(&here, soon()).await.expect("it is seen");
        let (number, first) = parked.first.expect("there are more");
        assert_eq!((parked.head, first.message.envelope.id()), (None, letter(n).message.envelope.id()));
        assert_eq!(text(&first.message.payload), "message");
        assert_eq!((first.message.position, &*first.message.name), (message.position, EVENT));
        for _ in 0..2 {
            looks.unpark(&here, number, soon()).await.expect("it is gone");
        }
    }
    assert!(
        parks.park(&here, letter(PARKED_MAX + 1), soon()).await.expect("it is parked"),
        "there is room again"
    );
}
