//! Coming back: a reconnect misses nothing, repeats nothing, or says `resync` (promises 4 and 7).

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use haggle::domain::{Command, Content, Draft, Fingerprint, MessageId, RoomId, SendMessage, UserId};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::dice::Dice;
use crate::harness::{Actor, Cast, Database, Event, EventStream, Server, position};

on_every_database!(
    the_header_wins_over_the_parameter,
    reconnects_miss_nothing_and_repeat_nothing_while_eight_write,
    a_cursor_survives_a_restart,
    a_cursor_that_cannot_be_resumed_says_why,
    trimmed_history_says_so,
    ten_thousand_events_are_replayed_and_one_more_is_not,
    an_older_cursor_of_somebody_who_moved_says_so,
    positions_and_numbers_have_no_holes_under_32_writers,
);

async fn now(actor: &Actor) -> String {
    actor.rooms().await["position"].as_str().expect("a cursor").to_owned()
}

/// The room and number of a message, of a first one too; none for other events.
fn message(event: &Event) -> Option<(Uuid, i64)> {
    let room = event.data["room_id"].as_str()?.parse().ok()?;
    Some((room, event.data["message"]["id"].as_i64()?))
}

async fn the_header_wins_over_the_parameter(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let early = now(&cast.ada).await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let late = now(&cast.ada).await;
    cast.ada.say(room, "Two").await;

    let path = format!("/v1/events?after={early}");
    assert_eq!(message(&cast.ada.stream_at(&path).await.next_news().await), Some((room, 1)));
    for (header, first) in [(late.as_str(), 2), ("", 1)] {
        let request = cast.ada.request(Method::GET, &path).header("Last-Event-ID", header);
        let mut stream = EventStream::open(&cast.ada, request).await;
        assert_eq!(message(&stream.next_news().await), Some((room, first)), "header {header:?}");
    }
}

/// What a reader has been told in one life, over all its streams.
#[derive(Default)]
struct Heard {
    last: String,
    last_number: HashMap<Uuid, i64>,
}

impl Heard {
    /// Checks that the event is the very next.
    fn hear(&mut self, event: &Event) {
        if event.id.is_empty() {
            return;
        }
        if let Some((room, number)) = message(event) {
            assert!(position(&event.id) > position(&self.last), "repeated: {} after {}", event.id, self.last);
            let last = self.last_number.entry(room).or_default();
            assert_eq!(number, *last + 1, "the next message of {room}");
            *last = number;
        }
        self.last.clone_from(&event.id);
    }

    fn has(&self, rooms: &[Uuid], number: i64) -> bool {
        rooms.iter().all(|room| self.last_number.get(room) == Some(&number))
    }
}

/// To see it fail, have `Hub::catch_up` go live one position late, or early.
async fn reconnects_miss_nothing_and_repeat_nothing_while_eight_write(database: Database) {
    const EACH: i64 = 60;
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let start = now(&cast.nora).await;
    let rooms = [cast.ada.open_room(cast.north, "Hi!").await, cast.kofi.open_room(cast.north, "Hi!").await];
    let writers = (0..8).map(|i| {
        let (room, creator) = if i % 2 == 0 { (rooms[0], &cast.ada) } else { (rooms[1], &cast.kofi) };
        let writer = if i < 4 { creator.clone() } else { cast.ben.clone() };
        tokio::spawn(async move {
            for n in 0..EACH {
                writer.say(room, &format!("{i}: {n}")).await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();

    let mut dice = Dice::seeded(4);
    let mut heard = Heard { last: start, ..Heard::default() };
    let mut reconnects = 0;
    while !heard.has(&rooms, 1 + 4 * EACH) {
        let mut stream = match dice.roll(2) {
            0 => cast.nora.stream_after(&heard.last).await,
            _ => cast.nora.stream_at(&format!("/v1/events?after={}", heard.last)).await,
        };
        assert_eq!((&stream.hello.data["resumed"], &stream.hello.id), (&json!(true), &heard.last));
        for _ in 0..dice.roll(25) {
            if heard.has(&rooms, 1 + 4 * EACH) {
                break;
            }
            heard.hear(&stream.next().await);
        }
        reconnects += 1;
    }
    assert!(reconnects > 20, "{reconnects} reconnects");
    for writer in writers {
        writer.await.expect("all was sent");
    }
}

async fn a_cursor_survives_a_restart(database: Database) {
    let mut server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut heard = Heard { last: now(&cast.nora).await, ..Heard::default() };
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut sent = 1;
    for _ in 0..3 {
        let (ada, nora) = (cast.ada.at(&server), cast.nora.at(&server));
        sent = ada.say(room, "Before").await;
        let mut stream = nora.stream_after(&heard.last).await;
        while !heard.has(&[room], sent - 1) {
            heard.hear(&stream.next().await);
        }
        drop(stream);
        server = server.restart().await;
    }
    let mut stream = cast.nora.at(&server).stream_after(&heard.last).await;
    while !heard.has(&[room], sent) {
        heard.hear(&stream.next().await);
    }
    // From the log into the present.
    let number = cast.ada.at(&server).say(room, "Live").await;
    heard.hear(&stream.next_news().await);
    assert!(heard.has(&[room], number));
}

/// Reads what follows a `resync`, and that the stream goes on from there.
async fn expect_resync(server: &Server, who: &Actor, cursor: &str, reason: &str) {
    let mut stream = who.at(server).stream_after(cursor).await;
    assert_eq!(stream.hello.data["resumed"], false, "{cursor}");
    let at = stream.hello.data["position"].as_str().expect("a cursor").to_owned();
    assert_eq!(stream.hello.id, at);
    let resync = stream.next().await;
    assert_eq!(resync.data, json!({"type": "resync", "reason": reason}), "{cursor}");
    assert_eq!(stream.last_id, at, "the cursor to go on from");
    assert!(position(&at) >= position(&now(&who.at(server)).await), "what is fetched now is all before it");
    assert_eq!(stream.next().await.name, "presence");
    drop(stream);
    assert_eq!(who.at(server).stream_after(&at).await.hello.data["resumed"], true, "{cursor}");
}

async fn a_cursor_that_cannot_be_resumed_says_why(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let here = now(&cast.nora).await;
    let (epoch, at) = here.rsplit_once('-').expect("a cursor");
    for unknown in ["banana", "-", "0", &format!("{epoch}-"), &format!("{epoch}-01"), &format!("{epoch}--1")] {
        expect_resync(&server, &cast.nora, unknown, "unknown_cursor").await;
    }
    expect_resync(&server, &cast.nora, &format!("ffffffffffffffff-{at}"), "other_epoch").await;
    let future = position(&here) + 1_000;
    expect_resync(&server, &cast.nora, &format!("{epoch}-{future}"), "future_cursor").await;

    let mut stream = cast.nora.stream_after("banana").await;
    cast.ada.say(room, "Live all the same").await;
    assert_eq!(message(&stream.next_news().await), None);
    assert_eq!(message(&stream.next_news().await), Some((room, 2)));
}

async fn trimmed_history_says_so(database: Database) {
    let server = Server::start_with(&database, |config| config.log_retention = Duration::from_mins(1)).await;
    let cast = server.cast().await;
    let old = now(&cast.nora).await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.ada.say(room, "Two").await;
    let kept = now(&cast.nora).await;
    server.clock.advance(Duration::from_mins(2));
    cast.ada.say(room, "Three").await;
    server.app.tidy().await.expect("tidied");

    expect_resync(&server, &cast.nora, &old, "trimmed").await;
    let before = format!("{}-{}", kept.rsplit_once('-').expect("a cursor").0, position(&kept) - 1);
    expect_resync(&server, &cast.nora, &before, "trimmed").await;
    for _ in 0..2 {
        let mut stream = cast.nora.stream_after(&kept).await;
        assert_eq!(message(&stream.next_news().await), Some((room, 3)), "the first that is kept");
        // The newest entry stays, however old.
        server.clock.advance(Duration::from_mins(2));
        server.app.tidy().await.expect("tidied");
    }
    assert_eq!(cast.nora.room(room).await["messages"].as_array().map(Vec::len), Some(3), "messages are never trimmed");
}

/// Sends many messages past HTTP.
async fn seed(server: &Server, sender: &Actor, room: Uuid, count: usize) {
    const AT_ONCE: usize = 2_000;
    let send = |_| {
        Command::SendMessage(SendMessage {
            caller: UserId(sender.id()),
            room_id: RoomId(room),
            key: MessageId(server.clock.new_id()),
            fingerprint: Fingerprint::default(),
            from_user_id: None,
            draft: Draft {
                content: Content::try_from("x".to_owned()).expect("content"),
                change: None,
                file: None,
                switch_to: None,
            },
        })
    };
    for from in (0..count).step_by(AT_ONCE) {
        let submitted = (from..count.min(from + AT_ONCE)).map(|n| server.app.writer.submit(send(n)));
        for receipt in join_all(submitted).await {
            receipt.expect("sent");
        }
    }
}

async fn ten_thousand_events_are_replayed_and_one_more_is_not(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let other = cast.kofi.open_room(cast.lumen, "Hi!").await;
    let start = now(&cast.nora).await;
    cast.ada.say(room, "One too many").await;
    let next = now(&cast.nora).await;
    seed(&server, &cast.ada, room, 10_000).await;
    cast.kofi.say(other, "Only own events count").await;

    expect_resync(&server, &cast.nora, &start, "too_far_behind").await;
    let mut stream = cast.nora.stream_after(&next).await;
    assert_eq!(stream.hello.data["resumed"], true);
    for number in 3..10_003 {
        assert_eq!(message(&stream.next_news().await), Some((room, number)));
    }
}

async fn an_older_cursor_of_somebody_who_moved_says_so(database: Database) {
    async fn put(cast: &Cast, company: Option<Uuid>) {
        let mut ben = json!({"given_name": "Ben", "family_name": "T", "logo_url": ""});
        if let Some(company) = company {
            ben["company_id"] = json!(company);
        }
        cast.service.put(&format!("/v1/users/{}", cast.ben.id()), &ben).await.expect(200);
    }
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let before = now(&cast.ben).await;
    put(&cast, Some(cast.north)).await;
    assert_eq!(cast.ben.stream_after(&before).await.hello.data["resumed"], true, "a put that moves nobody");

    put(&cast, Some(cast.lumen)).await;
    expect_resync(&server, &cast.ben, &before, "membership_changed").await;
    assert_eq!(cast.nora.stream_after(&before).await.hello.data["resumed"], true, "others may go on");

    // Nothing that was told while he was away from Northwind.
    let away = now(&cast.ben).await;
    cast.ada.say(room, "Without Ben").await;
    put(&cast, Some(cast.north)).await;
    expect_resync(&server, &cast.ben, &away, "membership_changed").await;
    let back = now(&cast.ben).await;
    cast.ada.say(room, "With Ben").await;
    assert_eq!(message(&cast.ben.stream_after(&back).await.next_news().await), Some((room, 3)));

    cast.service.delete(&format!("/v1/users/{}", cast.ben.id())).await.expect(204);
    put(&cast, Some(cast.north)).await;
    expect_resync(&server, &cast.ben, &back, "membership_changed").await;
}

/// Sends one command that is refused, another kind each time.
async fn refused(n: usize, cast: &Cast, room: Uuid) {
    let accept = json!({"type": "approved_by_company"});
    match n % 4 {
        0 => cast.ada.change(room, &accept).await.refused(403, "wrong_side"),
        1 => cast.ada.message(room, &json!({"content": ""})).await.refused(422, "invalid_value"),
        2 => cast.luca.message(room, &json!({"content": "Hi"})).await.refused(404, "not_found"),
        _ => cast.nora.change(room, &accept).await.refused(422, "no_selected_campaign"),
    };
}

/// To see it fail, take the position from a counter that is not rolled back with the transaction.
async fn positions_and_numbers_have_no_holes_under_32_writers(database: Database) {
    const EACH: usize = 12;
    let server = Server::start(&database).await;
    let cast = std::sync::Arc::new(server.cast().await);
    let mut all = cast.service.stream_at("/v1/events?all=true").await;
    let rooms = [cast.ada.open_room(cast.north, "Hi!").await, cast.kofi.open_room(cast.north, "Hi!").await];
    let writers: Vec<_> = (0..32)
        .map(|writer| {
            let cast = cast.clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    refused(writer + n, &cast, rooms[0]).await;
                    let who = if n % 2 == 0 { &cast.nora } else { &cast.ben };
                    who.say(rooms[writer % 2], "Hello").await;
                }
            })
        })
        .collect();
    let mut numbers: HashMap<Uuid, i64> = HashMap::new();
    let mut last = None;
    for _ in 0..2 + 32 * EACH {
        let event = all.next_news().await;
        let at = position(&event.id);
        assert!(last.is_none_or(|last| at == last + 1), "position {at} after {last:?}");
        last = Some(at);
        let (room, number) = message(&event).expect("a message");
        let before = numbers.insert(room, number).unwrap_or_default();
        assert_eq!(number, before + 1, "the next message of {room}");
    }
    for writer in writers {
        writer.await.expect("all was answered as it should");
    }
    let head: Value = cast.nora.rooms().await;
    assert_eq!(head["position"].as_str().map(position), last, "refused commands take no position");
}
