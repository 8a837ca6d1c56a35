//! The main job, start to finish: talk, propose, accept, finish, approve, and hear of it.

use serde_json::json;

use crate::harness::{Database, Server};

on_every_database!(a_negotiation_from_hello_to_approved);

async fn a_negotiation_from_hello_to_approved(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut nora = cast.nora.stream().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let created = nora.next_news().await;
    assert_eq!((created.name.as_str(), &created.data["room_id"]), ("room_created_with_you", &json!(room)));
    assert_eq!(created.data["message"]["from_user"]["given_name"], "Ada");

    cast.nora.propose(room, cast.spring, 125_000).await.expect(201);
    for (who, change, state) in [
        (&cast.ada, "accepted_by_creator", "accepted"),
        (&cast.ada, "finished_by_creator", "finished"),
        (&cast.nora, "approved_by_company", "approved"),
    ] {
        who.change(room, &json!({"type": change})).await.expect(201);
        assert_eq!(cast.ben.room(room).await["contracts"][0]["state"], state);
    }
    for state in ["proposed", "accepted", "finished", "approved"] {
        let news = nora.next_news().await;
        assert_eq!((news.name.as_str(), &news.data["contract"]["state"]), ("new_message", &json!(state)));
    }
    let rooms = cast.ada.rooms().await;
    assert_eq!(rooms["rooms"][0]["new_messages"], 1);
    assert_eq!(cast.ada.see(room, 5).await.expect(200), json!({"seen_till": 5, "new_messages": 0}));
    let view = nora.next_news().await;
    assert_eq!(view.data, json!({"type": "new_last_view", "room_id": room, "user_id": cast.ada.id(), "message_id": 5}));
}
