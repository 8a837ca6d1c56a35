//! Who is there and who is typing, as others are told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Database, EventStream, Server, eventually};

on_every_database!(
    a_closed_page_counts_for_15_seconds,
    hiding_a_page_makes_its_user_away,
    the_best_of_all_pages_wins,
    a_page_is_hidden_by_its_owner_only,
    a_user_changes_at_most_once_a_second,
    nobody_is_left_with_a_state_that_was_taken_back_at_once,
    presence_shows_colleagues_and_counterparts_only,
    a_new_room_brings_people_together,
    strangers_hear_nothing,
    typing_is_told_to_the_room_but_not_to_the_typist,
    typing_lasts_seven_seconds_unless_refreshed,
    typing_ends_with_the_message_and_with_the_last_page,
    typing_ends_with_access,
    typing_is_part_of_presence,
);

const SECOND: Duration = Duration::from_secs(1);

/// A server, Ada's room with Northwind, and Ada's live stream.
async fn room_with_ada(database: &Database) -> (Server, crate::harness::Cast, Uuid, EventStream) {
    let server = Server::start(database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let ada = live(&cast.ada).await;
    (server, cast, room, ada)
}

/// A stream that has caught up with the present.
async fn live(actor: &Actor) -> EventStream {
    let mut stream = actor.stream().await;
    stream.next_of("presence").await;
    stream
}

#[track_caller]
fn assert_change(event: &Value, actor: &Actor, state: &str) {
    assert_eq!(*event, json!({"type": "activity_change", "user_id": actor.id(), "activity_state": state}));
}

async fn show(actor: &Actor, stream: &EventStream, viewing: bool) {
    let connection = stream.hello.data["connection_id"].as_str().expect("an id");
    actor.put(&format!("/v1/events/{connection}/viewing"), &json!({"viewing": viewing})).await.expect(204);
}

/// Waits until the server has noticed which streams are open.
async fn notice(server: &Server, open: usize) {
    eventually("the server notices", async || server.streams().app.hub.streams() == open).await;
}

/// What both queries say of somebody in a room of `reader`.
async fn status(reader: &Actor, room: Uuid, of: &Actor) -> [String; 2] {
    let find = |users: &Value| {
        let user = users.as_array().expect("people").iter().find(|user| user["id"] == json!(of.id()));
        user.expect("a member")["status"].as_str().expect("a status").to_owned()
    };
    [find(&reader.room(room).await["users"]), find(&reader.rooms().await["rooms"][0]["users"])]
}

/// What queries say of somebody; on another node than their streams' within moments.
async fn assert_status(server: &Server, reader: &Actor, room: Uuid, of: &Actor, state: &str) {
    if !server.is_one_node() {
        eventually("the nodes agree", async || status(reader, room, of).await == [state; 2]).await;
    }
    assert_eq!(status(reader, room, of).await, [state; 2]);
}

async fn a_closed_page_counts_for_15_seconds(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    assert_status(&server, &cast.ada, room, &cast.nora, "offline").await;
    let nora = cast.nora.stream().await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "online");
    assert_status(&server, &cast.ada, room, &cast.nora, "online").await;

    // A reload is not told.
    drop(nora);
    notice(&server, 1).await;
    server.clock.advance(10 * SECOND);
    let nora = cast.nora.stream().await;
    server.clock.advance(10 * SECOND);
    ada.next_of("heartbeat").await;
    assert_status(&server, &cast.ada, room, &cast.nora, "online").await;
    cast.ben.say(room, "Still there").await;
    assert_eq!(ada.next().await.name, "new_message");

    drop(nora);
    notice(&server, 1).await;
    assert_status(&server, &cast.ada, room, &cast.nora, "online").await;
    server.clock.advance(15 * SECOND);
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "offline");
    assert_status(&server, &cast.ada, room, &cast.nora, "offline").await;
}

async fn hiding_a_page_makes_its_user_away(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let nora = cast.nora.stream_at("/v1/events?viewing=false").await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "away");
    for (viewing, state) in [(true, "online"), (false, "away")] {
        server.clock.advance(SECOND);
        show(&cast.nora, &nora, viewing).await;
        assert_change(&ada.next_of("activity_change").await, &cast.nora, state);
        assert_status(&server, &cast.ada, room, &cast.nora, state).await;
    }
}

async fn the_best_of_all_pages_wins(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let hidden = cast.nora.stream_at("/v1/events?viewing=false").await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "away");
    server.clock.advance(SECOND);
    let first = cast.nora.stream().await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "online");
    let second = cast.nora.stream().await;
    server.clock.advance(SECOND);
    show(&cast.nora, &first, false).await;
    assert_status(&server, &cast.ada, room, &cast.nora, "online").await;
    drop(second);
    notice(&server, 3).await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "away");
    server.clock.advance(SECOND);
    show(&cast.nora, &hidden, true).await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "online");
}

async fn a_page_is_hidden_by_its_owner_only(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let nora = cast.nora.stream().await;
    assert_change(&ada.next_of("activity_change").await, &cast.nora, "online");
    server.clock.advance(SECOND);
    for other in [&cast.ben, &cast.ada, &cast.luca] {
        show(other, &nora, false).await;
    }
    let path = format!("/v1/events/{room}/viewing");
    cast.nora.put(&path, &json!({"viewing": false})).await.expect(204);
    assert_status(&server, &cast.ada, room, &cast.nora, "online").await;
    cast.nora.put(&path, &json!({"viewing": "no"})).await.refused(422, "invalid_value");
    cast.nora.put(&path, &json!({"viewing": true, "typing": true})).await.refused(422, "invalid_value");
    server.nobody().put(&path, &json!({"viewing": true})).await.refused(401, "unauthenticated");
}

async fn a_user_changes_at_most_once_a_second(database: Database) {
    let (server, cast, _, mut ada) = room_with_ada(&database).await;
    let begun = Instant::now();
    let nora = cast.nora.stream().await;
    for round in 0..10 {
        show(&cast.nora, &nora, round % 2 == 1).await;
    }
    show(&cast.nora, &nora, false).await;
    let passed = begun.elapsed().as_secs();
    server.clock.advance(SECOND);
    let mut told = 1;
    while ada.next_of("activity_change").await["activity_state"] != "away" {
        told += 1;
    }
    assert!(told <= passed + 2, "{told} changes in {passed} s");
}

async fn nobody_is_left_with_a_state_that_was_taken_back_at_once(database: Database) {
    let (server, cast, room, _ada) = room_with_ada(&database).await;
    let nora = cast.nora.stream().await;
    show(&cast.nora, &nora, false).await;
    let mut ben = cast.ben.stream().await;
    let presence = ben.next_of("presence").await;
    show(&cast.nora, &nora, true).await;
    server.clock.advance(15 * SECOND);
    let mut state =
        if presence["online"].to_string().contains(&cast.nora.id().to_string()) { "online" } else { "away" };
    let mut event = ben.next().await;
    while event.name != "heartbeat" {
        if event.data["user_id"] == json!(cast.nora.id()) {
            state = if event.data["activity_state"] == "online" { "online" } else { "away" };
        }
        event = ben.next().await;
    }
    assert_status(&server, &cast.ada, room, &cast.nora, state).await;
}

async fn presence_shows_colleagues_and_counterparts_only(database: Database) {
    let (_server, cast, _, _ada) = room_with_ada(&database).await;
    let _ben = cast.ben.stream_at("/v1/events?viewing=false").await;
    let _strangers = (cast.luca.stream().await, cast.kofi.stream().await);
    let mut nora = cast.nora.stream().await;
    let mut online = [cast.ada.id(), cast.nora.id()];
    online.sort_unstable();
    assert_eq!(
        nora.next_of("presence").await,
        json!({"type": "presence", "online": online, "away": [cast.ben.id()], "typing": []})
    );
    // Nothing but Northwind: Kofi is not even Ada's counterpart.
    let mut kofi = cast.kofi.stream().await;
    assert_eq!(kofi.next_of("presence").await["online"], json!([cast.kofi.id()]));
}

async fn a_new_room_brings_people_together(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (mut luca, mut kofi) = (live(&cast.luca).await, live(&cast.kofi).await);
    let room = cast.luca.open_room_with(cast.lumen, cast.kofi.id(), "Hi!").await;
    let created = kofi.next_of("room_created_with_you").await;
    assert!(created["users"].as_array().expect("people").iter().all(|user| user["status"] == "online"));
    luca.next_of("room_created_with_you").await;
    server.clock.advance(SECOND);
    show(&cast.luca, &luca, false).await;
    assert_change(&kofi.next_of("activity_change").await, &cast.luca, "away");
    show(&cast.kofi, &kofi, false).await;
    while luca.next_of("activity_change").await["user_id"] != json!(cast.kofi.id()) {}
    assert_status(&server, &cast.luca, room, &cast.kofi, "away").await;
}

async fn strangers_hear_nothing(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let (mut luca, mut kofi) = (live(&cast.luca).await, live(&cast.kofi).await);
    let nora = cast.nora.stream().await;
    ada.next_of("activity_change").await;
    server.clock.advance(SECOND);
    show(&cast.nora, &nora, false).await;
    ada.next_of("activity_change").await;
    cast.nora.typing(room, true).await.expect(204);
    ada.next_of("typing_change").await;
    cast.luca.typing(room, true).await.refused(404, "not_found");
    cast.kofi.open_room(cast.lumen, "Hi!").await;
    for stream in [&mut luca, &mut kofi] {
        assert_eq!(stream.next().await.name, "room_created_with_you");
    }
}

fn typing_change(room: Uuid, actor: &Actor, typing: bool) -> Value {
    json!({"type": "typing_change", "room_id": room, "user_id": actor.id(), "currently_typing": typing})
}

async fn typing_is_told_to_the_room_but_not_to_the_typist(database: Database) {
    let (_server, cast, room, mut ada) = room_with_ada(&database).await;
    let (mut nora, mut page) = (live(&cast.nora).await, live(&cast.nora).await);
    let mut ben = live(&cast.ben).await;
    let other = cast.kofi.open_room(cast.north, "Hi!").await;
    let mut kofi = live(&cast.kofi).await;
    // Twice is once; stopping twice too.
    for typing in [true, true, false, false] {
        cast.nora.typing(room, typing).await.expect(204);
    }
    cast.ada.say(room, "Done").await;
    cast.ben.say(other, "Done").await;
    for stream in [&mut ada, &mut ben] {
        for typing in [true, false] {
            assert_eq!(stream.next_of("typing_change").await, typing_change(room, &cast.nora, typing));
        }
        assert_eq!(stream.next_of("new_message").await["room_id"], json!(room));
    }
    for stream in [&mut nora, &mut page] {
        while stream.next_news().await.name == "room_created_with_you" {}
    }
    assert_eq!(kofi.next_news().await.data["room_id"], json!(other), "not of another room of the company");
    cast.nora.put(&format!("/v1/rooms/{room}/typing"), &json!({"typing": 1})).await.refused(422, "invalid_value");
}

async fn typing_lasts_seven_seconds_unless_refreshed(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let _nora = cast.nora.stream().await;
    cast.nora.typing(room, true).await.expect(204);
    assert_eq!(ada.next_of("typing_change").await, typing_change(room, &cast.nora, true));
    for _ in 0..4 {
        server.clock.advance(4 * SECOND);
        cast.nora.typing(room, true).await.expect(204);
    }
    // Some tick has passed since: the heartbeat is due after 15 s.
    ada.next_of("heartbeat").await;
    cast.ben.say(room, "Go on").await;
    assert_eq!(ada.next_news().await.name, "new_message", "refreshed, so still typing");
    server.clock.advance(7 * SECOND);
    assert_eq!(ada.next_of("typing_change").await, typing_change(room, &cast.nora, false));
}

async fn typing_ends_with_the_message_and_with_the_last_page(database: Database) {
    let (server, cast, room, mut ada) = room_with_ada(&database).await;
    let (first, last) = (cast.nora.stream().await, cast.nora.stream().await);
    cast.nora.typing(room, true).await.expect(204);
    assert_eq!(ada.next_news().await.data, typing_change(room, &cast.nora, true));
    cast.nora.say(room, "Sent").await;
    assert_eq!(ada.next_news().await.data, typing_change(room, &cast.nora, false));
    assert_eq!(ada.next_news().await.name, "new_message");

    cast.nora.typing(room, true).await.expect(204);
    drop(first);
    notice(&server, 2).await;
    cast.ben.say(room, "One page is left").await;
    assert_eq!(ada.next_news().await.data, typing_change(room, &cast.nora, true));
    assert_eq!(ada.next_news().await.name, "new_message");
    drop(last);
    assert_eq!(ada.next_news().await.data, typing_change(room, &cast.nora, false));
}

async fn typing_ends_with_access(database: Database) {
    let (_server, cast, room, mut ada) = room_with_ada(&database).await;
    // With a page and, as programs do, without.
    let _nora = cast.nora.stream().await;
    for who in [&cast.nora, &cast.ben] {
        who.typing(room, true).await.expect(204);
        assert_eq!(ada.next_news().await.data, typing_change(room, who, true));
        let asked = Instant::now();
        cast.service.delete(&format!("/v1/users/{}", who.id())).await.expect(204);
        assert_eq!(ada.next_news().await.data, typing_change(room, who, false));
        assert!(asked.elapsed() < 5 * SECOND, "by the change, not by the lease");
        who.typing(room, true).await.refused(403, "deactivated");
    }
}

async fn typing_is_part_of_presence(database: Database) {
    let (server, cast, room, _ada) = room_with_ada(&database).await;
    for who in [&cast.ada, &cast.ben] {
        who.typing(room, true).await.expect(204);
    }
    let typing = |who: &Actor| json!({"room_id": room, "user_id": who.id()});
    let mut both = [typing(&cast.ada), typing(&cast.ben)];
    both.sort_by_key(|one| one["user_id"].to_string());
    for (reader, seen) in [(&cast.nora, json!(both)), (&cast.ben, json!([both[0]])), (&cast.luca, json!([]))] {
        if !server.is_one_node() {
            let is_so = async || reader.stream().await.next_of("presence").await["typing"] == seen;
            eventually("the other node has heard", is_so).await;
        }
        assert_eq!(reader.stream().await.next_of("presence").await["typing"], seen);
    }
}
