//! `on_dead = "park"`: later messages of a key wait behind its dead letter.

use convoke::{App, Command, Event, Handled, Outcome, PARKED_MAX, State, handler};
use convoke_testing::TestApp;
use serde::{Deserialize, Serialize};

use crate::world::{World, all_letters};

#[derive(Debug, Clone, Serialize, Deserialize, Event)]
#[event(name = "parking.moved.v1", key = key)]
struct Moved {
    key: String,
    number: u32,
}

#[derive(Debug, Clone, Serialize, Deserialize, Command)]
#[command(name = "parking.move.v1", key = key)]
struct Move {
    key: String,
    number: u32,
}

#[handler(on_dead = "park", attempts = 2)]
async fn follows(event: Moved, State(world): State<World>) -> Handled {
    world.works(event.number)?;
    world.note(format!("{}{}", event.key, event.number));
    Ok(())
}

#[handler(group = "parking", on_dead = "park", attempts = 2)]
async fn follows_in_group(event: Moved, State(world): State<World>) -> Handled {
    world.works(event.number)?;
    world.note(format!("{}{}", event.key, event.number));
    Ok(())
}

#[handler(on_dead = "park", attempts = 2)]
async fn moves(cmd: Move, State(world): State<World>) -> Outcome<Move> {
    world.works(cmd.number)?;
    world.note(format!("{}{}", cmd.key, cmd.number));
    Ok(())
}

#[handler(attempts = 2)]
async fn goes_on(event: Moved, State(world): State<World>) -> Handled {
    world.works(event.number)?;
    world.note(format!("{}{}", event.key, event.number));
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    Node,
    Group,
    Jobs,
    GoesOn,
}

const PARKING: [Who; 3] = [Who::Node, Who::Group, Who::Jobs];

fn app(who: Who, world: &World) -> App {
    let app = App::new("parking").node("n1").state(world.clone());
    match who {
        Who::Node => app.function(follows),
        Who::Group => app.function(follows_in_group),
        Who::Jobs => app.function(moves),
        Who::GoesOn => app.function(goes_on),
    }
}

async fn send(app: &TestApp, who: Who, key: &str, numbers: impl IntoIterator<Item = u32>) {
    for number in numbers {
        let key = key.to_owned();
        match who {
            Who::Jobs => drop(app.enqueue(Move { key, number }).await.unwrap()),
            _ => drop(app.publish(Moved { key, number }).await.unwrap()),
        }
    }
}

/// Three of the key `a`, whose first is broken, and one of `b`.
async fn with_a_broken_first(who: Who) -> (TestApp, World) {
    let world = World::broken_for([1]);
    let app = TestApp::start(app(who, &world)).await;
    send(&app, who, "a", [1, 2, 3]).await;
    send(&app, who, "b", [4]).await;
    app.settled().await;
    (app, world)
}

#[tokio::test(start_paused = true)]
async fn what_comes_behind_a_dead_letter_of_its_key_waits_for_the_replay_and_follows_in_order() {
    for who in PARKING {
        let (app, world) = with_a_broken_first(who).await;
        assert_eq!(world.lines(), ["b4"], "{who:?}: other keys go on");
        let dead = app.dead_letters();
        assert_eq!((dead.len(), dead[0].holds), (1, true), "{who:?}");
        send(&app, who, "a", [5]).await;
        app.settled().await;
        assert_eq!(world.lines(), [""; 0], "{who:?}: and later ones of the key do not");
        assert_eq!(all_letters(&app, false).await, 1);
        assert_eq!(app.dead_letters()[0].replays, 1, "{who:?}: it is broken still");
        world.repair(1);
        assert_eq!(all_letters(&app, false).await, 1);
        assert_eq!(world.lines(), ["a1", "a2", "a3", "a5"], "{who:?}");
        send(&app, who, "a", [6]).await;
        app.settled().await;
        assert_eq!(world.lines(), ["a6"], "{who:?}");
        assert!(app.dead_letters().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn without_the_option_the_rest_of_the_key_goes_on() {
    let (app, world) = with_a_broken_first(Who::GoesOn).await;
    let mut lines = world.lines();
    lines.sort();
    assert_eq!((lines, app.dead_letters()[0].holds), (vec!["a2".into(), "a3".into(), "b4".into()], false));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_letter_lets_go_what_is_parked_behind_it_and_does_not_run() {
    for who in PARKING {
        let (app, world) = with_a_broken_first(who).await;
        world.repair(1);
        world.lines();
        assert_eq!(all_letters(&app, true).await, 1);
        assert_eq!(world.lines(), ["a2", "a3"], "{who:?}");
        assert!(app.dead_letters().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_letter_lets_go_what_is_parked_also_when_the_handler_parks_no_more() {
    let (app, world) = with_a_broken_first(Who::Node).await;
    world.lines();
    let named_alike = {
        #[handler]
        async fn follows(event: Moved, State(world): State<World>) -> Handled {
            world.note(format!("now {}{}", event.key, event.number));
            Ok(())
        }
        App::new("parking").node("n1").state(world.clone()).function(follows)
    };
    let app = app.restart(named_alike).await;
    assert_eq!(all_letters(&app, true).await, 1);
    assert_eq!(world.lines(), ["now a2", "now a3"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_parked_survives_a_restart() {
    for who in PARKING {
        let (one, world) = with_a_broken_first(who).await;
        let one = one.restart(app(who, &world)).await;
        send(&one, who, "a", [5]).await;
        one.settled().await;
        assert_eq!(world.lines(), ["b4"], "{who:?}: the key is held still");
        world.repair(1);
        assert_eq!(all_letters(&one, false).await, 1);
        assert_eq!(world.lines(), ["a1", "a2", "a3", "a5"], "{who:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parked_message_that_gives_up_holds_the_key_in_its_turn() {
    for who in PARKING {
        let (app, world) = with_a_broken_first(who).await;
        world.repair(1);
        world.breaks(2);
        world.lines();
        assert_eq!(all_letters(&app, false).await, 1);
        assert_eq!(world.lines(), ["a1"], "{who:?}");
        let dead = app.dead_letters();
        assert_eq!((dead.len(), dead[0].holds, &dead[0].errors[0][..]), (1, true, "2 is broken"), "{who:?}");
        world.repair(2);
        assert_eq!(all_letters(&app, false).await, 1);
        assert_eq!(world.lines(), ["a2", "a3"], "{who:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_again_is_parked_once_and_runs_once() {
    for who in PARKING {
        let world = World::broken_for([1]);
        let app = TestApp::start(app(who, &world)).await;
        app.deliver_twice();
        app.redeliver();
        send(&app, who, "a", [1, 2, 3]).await;
        app.settled().await;
        world.repair(1);
        assert_eq!(all_letters(&app, false).await, 1, "{who:?}");
        assert_eq!(world.lines(), ["a1", "a2", "a3"], "{who:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_may_be_parked_become_dead_letters_that_say_so() {
    let world = World::broken_for([0]);
    let app = TestApp::start(app(Who::Node, &world)).await;
    let parked = u32::try_from(PARKED_MAX).unwrap();
    send(&app, Who::Node, "a", 0..parked + 3).await;
    app.settled().await;
    let dead = app.dead_letters();
    assert_eq!((dead.len(), dead[0].holds), (3, true));
    for letter in &dead[1..] {
        assert!(letter.errors[0].contains("1000 messages of a key"), "{:?}", letter.errors);
        assert!(!letter.holds);
    }
    world.repair(0);
    assert_eq!(all_letters(&app, false).await, 3, "their order is that of their replays");
    let expected: Vec<_> = (0..parked + 3).map(|number| format!("a{number}")).collect();
    assert_eq!(world.lines(), expected);
}

#[cfg(feature = "nats")]
mod over_nats {
    use std::time::Duration;

    use convoke::{Config, LetterFilter, Node, nats};
    use convoke_testing::{eventually, servers::NatsServer};

    use super::*;
    use crate::world::soon;

    async fn node(server: &NatsServer, id: &str, world: &World) -> Node {
        let transport = nats::Transport::connect(server.url()).await.unwrap();
        let stores = transport.stores();
        let mut config = Config::default();
        config.backoff = Duration::from_millis(5);
        let app = App::new("parking").node(id).config(config).state(world.clone());
        let app = app.function(follows).function(follows_in_group).function(moves);
        let node = app.transport(transport).stores(stores).start().await.unwrap();
        node.ready(Duration::from_secs(20)).await.unwrap();
        node
    }

    async fn send(node: &Node, numbers: impl IntoIterator<Item = u32>) {
        for number in numbers {
            node.mediator().publish(Moved { key: "a".into(), number }).await.unwrap();
            node.mediator().enqueue(Move { key: "a".into(), number }).await.unwrap();
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_parked_at_the_broker_outlives_its_node_and_follows_in_order() {
        let Some(server) = NatsServer::start_or_skip("parking").await else { return };
        let world = World::broken_for([1]);
        let one = node(&server, "n1", &world).await;
        send(&one, [1]).await;
        let letters = one.dead_letters().unwrap();
        let list = async || letters.list(&LetterFilter::all(), 0, 100, soon()).await.unwrap().letters;
        eventually("three handlers gave up", || async {
            if list().await.len() == 3 { Ok(()) } else { Err(()) }
        })
        .await;
        send(&one, [2, 3]).await;
        let client = nats::async_nats::connect(server.url()).await.unwrap();
        let parked = nats::async_nats::jetstream::new(client).get_stream("CONVOKE_PARKED").await.unwrap();
        let kept = async || parked.get_info().await.unwrap().state.messages;
        eventually("all are parked", || async { if kept().await == 9 { Ok(()) } else { Err(kept().await) } })
            .await;
        one.stop().await;
        let again = node(&server, "n1", &world).await;
        send(&again, [4]).await;
        eventually("and what comes later", || async {
            if kept().await == 12 { Ok(()) } else { Err(kept().await) }
        })
        .await;
        assert_eq!(world.lines(), [""; 0]);
        world.repair(1);
        let letters = again.dead_letters().unwrap();
        for letter in letters.list(&LetterFilter::all(), 0, 100, soon()).await.unwrap().letters {
            assert!(letter.letter.holds);
            assert!(letters.replay(letter.number, soon()).await.unwrap());
            let mut lines = Vec::new();
            eventually("it and those behind it are handled", || {
                lines.extend(world.lines());
                let lines = lines.clone();
                async move { if lines.len() == 4 { Ok(()) } else { Err(lines) } }
            })
            .await;
            assert_eq!(lines, ["a1", "a2", "a3", "a4"], "{}", letter.letter.handler);
        }
        eventually("nothing is left", || async {
            if kept().await == 0 { Ok(()) } else { Err(kept().await) }
        })
        .await;
    }
}
