//! State and events are the truth: what a client makes of a snapshot and the events after it is what a later snapshot
//! says (promise 8). To see it fail, leave anything out of [`Model::apply`], or out of an event.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::dice::Dice;
use crate::harness::{Actor, Cast, Database, Event, EventStream, Server, eventually, is_full, tell};

on_every_database!(a_snapshot_and_its_events_are_the_next_snapshot);

/// Servers in the short form, and in the full one; two seeds each, so that a page holds all of a room's messages.
const SERVERS: (u64, u64) = (1, 30);
const COMMANDS: u64 = 150;

async fn a_snapshot_and_its_events_are_the_next_snapshot(mut database: Database) {
    let servers = if is_full() { SERVERS.1 } else { SERVERS.0 };
    for n in 0..servers {
        let server = Server::start_with(&database, |config| config.stream_life = Duration::from_secs(1_000_000)).await;
        let cast = server.cast().await;
        for seed in [2 * n + 1, 2 * n + 2] {
            converge(&server, &cast, Dice::seeded(seed)).await;
        }
        database = another(&database).await;
    }
    let (seeds, clients) = (2 * servers, 5);
    let done = format!("{} random commands (seeds 1 to {seeds})", seeds * COMMANDS);
    tell("8", &done, format!("0 mismatches in {clients} clients, presence and typing included"));
}

/// An empty database of the same kind.
async fn another(database: &Database) -> Database {
    let another = match database {
        Database::Sqlite => Some(Database::Sqlite),
        Database::Postgres(_) => Database::postgres().await,
        Database::TwoNodes { .. } => Database::two_nodes().await,
    };
    another.expect("it was there before")
}

async fn converge(server: &Server, cast: &Cast, mut dice: Dice) {
    let actors = [&cast.ada, &cast.kofi, &cast.nora, &cast.ben, &cast.luca];
    let actors = actors.map(|actor| server.actor_for(actor.id(), Duration::from_secs(1_000_000)));
    for _ in 0..10 {
        let who = dice.roll(actors.len());
        command(&mut dice, cast, &actors[who]).await;
    }
    let mut readers = Vec::new();
    for actor in &actors {
        readers.push(Reader::open(actor).await);
    }
    for _ in 0..COMMANDS {
        let who = dice.roll(readers.len());
        match dice.roll(12) {
            0 => readers[who].show(dice.roll(2) == 0).await,
            1 => readers[who].reconnect().await,
            2 => server.clock.advance(Duration::from_secs(dice.roll(3) as u64)),
            _ => command(&mut dice, cast, &actors[who]).await,
        }
    }
    eventually("the streams are open", async || server.streams().app.hub.streams() == readers.len()).await;
    settle(server, &actors[0]).await;
    catch_up(&mut readers, &format!("mark {}", dice.roll(1_000_000))).await;
    for reader in &readers {
        let snapshot = Model::snapshot(&reader.actor).await;
        assert_eq!(reader.model.shown(), snapshot.shown(), "{}", reader.actor.id());
    }
    typing_converges(&mut dice, &mut readers).await;
}

/// Has the hub tell whatever it held back for a second.
async fn settle(server: &Server, actor: &Actor) {
    let mut fresh = actor.stream_at("/v1/events?viewing=false").await;
    server.clock.advance(Duration::from_secs(15));
    fresh.next_of("heartbeat").await;
}

/// Writes once more into every room and has every reader read up to that.
async fn catch_up(readers: &mut [Reader], mark: &str) {
    for reader in readers.iter() {
        for room in reader.actor.rooms().await["rooms"].as_array().expect("rooms") {
            if room["last_message"]["content"] != mark {
                reader.actor.say(text(&room["id"]).parse().expect("a UUID"), mark).await;
            }
        }
    }
    for reader in readers {
        let rooms = reader.actor.rooms().await["rooms"].as_array().expect("rooms").len();
        let marked =
            |model: &Model| model.rooms.values().filter(|room| room["last_message"]["content"] == mark).count();
        while marked(&reader.model) < rooms {
            reader.read().await;
        }
    }
}

/// Typing and presence, as a page that has just been opened sees them.
async fn typing_converges(dice: &mut Dice, readers: &mut [Reader]) {
    for _ in 0..12 {
        let reader = dice.pick(readers);
        let rooms: Vec<Uuid> = reader.model.rooms.keys().copied().collect();
        if !rooms.is_empty() {
            reader.actor.typing(*dice.pick(&rooms), dice.roll(3) > 0).await.expect(204);
        }
    }
    catch_up(readers, &format!("mark {}", dice.roll(1_000_000))).await;
    for reader in readers {
        let fresh = reader.actor.stream_at("/v1/events?viewing=false").await.next_of("presence").await;
        let mut model = Model::default();
        model.presence(&fresh);
        assert_eq!((&reader.model.typing, &reader.model.there), (&model.typing, &model.there));
    }
}

/// One random command; that some are refused is part of it.
async fn command(dice: &mut Dice, cast: &Cast, actor: &Actor) {
    let rooms = actor.rooms().await["rooms"].clone();
    let rooms = rooms.as_array().expect("rooms");
    if rooms.is_empty() || dice.roll(15) == 0 {
        return open_room(dice, cast, actor).await;
    }
    let room = dice.pick(rooms);
    let last = room["last_message"]["id"].as_u64().expect("a number");
    let id: Uuid = room["id"].as_str().expect("an id").parse().expect("a UUID");
    let mut body = json!({"content": "Hello"});
    match dice.roll(10) {
        0..4 => body["contract_change"] = change(dice, cast),
        4 => body["change_selected_campaign_to"] = json!(dice.pick(&[cast.spring, cast.autumn, cast.studio])),
        5..7 => {
            let till = dice.roll(usize::try_from(last).expect("small") + 2);
            actor.see(id, i64::try_from(till).expect("small")).await;
            return;
        }
        7 => {
            actor.typing(id, dice.roll(2) == 0).await.expect(204);
            return;
        }
        _ => {}
    }
    assert!(actor.message(id, &body).await.status < 500);
}

async fn open_room(dice: &mut Dice, cast: &Cast, actor: &Actor) {
    let company = *dice.pick(&[cast.north, cast.lumen]);
    let creator = dice.pick(&[&cast.ada, &cast.kofi]).id();
    let direction = if [cast.ada.id(), cast.kofi.id()].contains(&actor.id()) {
        json!({"type": "user_to_company", "company_id": company})
    } else {
        json!({"type": "company_to_user", "company_id": company, "to_user_id": creator})
    };
    let body = json!({"message": {"content": "Hi!"}, "direction": direction});
    assert!(actor.post("/v1/rooms", &body).await.status < 500);
}

fn change(dice: &mut Dice, cast: &Cast) -> Value {
    let campaign = *dice.pick(&[cast.spring, cast.autumn, cast.studio]);
    match dice.roll(8) {
        0..3 => json!({"type": "proposed_by_company", "campaign_id": campaign, "payout": dice.roll(1_000)}),
        3 => json!({"type": "withdrawn_by_company"}),
        4 => json!({"type": "cancelled_by_creator"}),
        5 => json!({"type": "finished_by_creator"}),
        6 => json!({"type": "approved_by_company"}),
        _ => json!({"type": "accepted_by_creator"}),
    }
}

/// A client with one page.
struct Reader {
    actor: Actor,
    stream: EventStream,
    model: Model,
}

impl Reader {
    /// Fetches first, then listens from there on.
    async fn open(actor: &Actor) -> Self {
        let model = Model::snapshot(actor).await;
        let stream = actor.stream_at(&format!("/v1/events?after={}", model.position)).await;
        assert_eq!(stream.hello.data["resumed"], true);
        Self { actor: actor.clone(), stream, model }
    }

    async fn reconnect(&mut self) {
        self.stream = self.actor.stream_after(&self.stream.last_id).await;
        assert_eq!(self.stream.hello.data["resumed"], true);
    }

    async fn show(&self, viewing: bool) {
        let connection = self.stream.hello.data["connection_id"].as_str().expect("an id");
        self.actor.put(&format!("/v1/events/{connection}/viewing"), &json!({"viewing": viewing})).await.expect(204);
    }

    async fn read(&mut self) {
        let event = self.stream.next().await;
        self.model.apply(self.actor.id(), &event);
    }
}

/// What a client knows: each room as in the list, together with its details, and who is there.
#[derive(Default)]
struct Model {
    position: String,
    /// By id; the newest has the greatest `order`.
    rooms: BTreeMap<Uuid, Map<String, Value>>,
    /// Whoever is online or away.
    there: BTreeMap<String, String>,
    typing: BTreeSet<(String, String)>,
}

impl Model {
    async fn snapshot(actor: &Actor) -> Self {
        let list = actor.rooms().await;
        let mut model = Self { position: list["position"].as_str().expect("a cursor").to_owned(), ..Self::default() };
        let rooms = list["rooms"].as_array().expect("rooms");
        let mut total = 0;
        for (order, room) in rooms.iter().rev().enumerate() {
            let id: Uuid = room["id"].as_str().expect("an id").parse().expect("a UUID");
            let detailed = actor.get(&format!("/v1/rooms/{id}?message_qty=200")).await.expect(200);
            total += room["new_messages"].as_i64().expect("a number");
            assert_eq!(room["new_messages"], detailed["new_messages"]);
            let others = detailed["users"].as_array().expect("people").iter();
            let others: Vec<&Value> = others.map(|user| &user["id"]).filter(|id| **id != json!(actor.id())).collect();
            // Who is there may have changed between the two: another node tells of it.
            let listed: Vec<&Value> =
                room["users"].as_array().expect("people").iter().map(|user| &user["id"]).collect();
            assert_eq!(listed, others, "the list has the same people in the same order");
            let mut merged = detailed.as_object().expect("a room").clone();
            merged.extend(room.as_object().expect("a room").clone());
            merged.insert("order".to_owned(), json!(order));
            merged.insert("users".to_owned(), detailed["users"].clone());
            merged.remove("position");
            model.settle_people(&mut merged);
            model.rooms.insert(id, merged);
        }
        assert_eq!(list["new_messages_total"], total);
        model
    }

    /// Keeps ids in order, and whether somebody is there in one place for all rooms.
    fn settle_people(&mut self, room: &mut Map<String, Value>) {
        let users = room["users"].as_array().expect("people").clone();
        for user in &users {
            self.set_status(&user["id"], &user["status"]);
        }
        let ids: Vec<&Value> = users.iter().map(|user| &user["id"]).collect();
        room.insert("users".to_owned(), json!(ids));
        let seen = room.remove("last_seen").unwrap_or_else(|| json!([]));
        let seen = seen.as_array().expect("people").iter();
        let seen: Map<String, Value> =
            seen.map(|one| (text(&one["user_id"]).to_owned(), one["seen_till"].clone())).collect();
        room.insert("last_seen".to_owned(), Value::Object(seen));
    }

    fn set_status(&mut self, user: &Value, status: &Value) {
        if status == "offline" {
            self.there.remove(text(user));
        } else {
            self.there.insert(text(user).to_owned(), text(status).to_owned());
        }
    }

    fn presence(&mut self, event: &Value) {
        self.there.clear();
        for state in ["online", "away"] {
            for user in event[state].as_array().expect("people") {
                self.set_status(user, &json!(state));
            }
        }
        let typing = event["typing"].as_array().expect("people").iter();
        self.typing = typing.map(|one| (text(&one["room_id"]).to_owned(), text(&one["user_id"]).to_owned())).collect();
    }

    /// What two models are compared by: rooms, and who is there of those in them.
    fn shown(&self) -> Value {
        let mut rooms: Vec<Map<String, Value>> = self.rooms.values().cloned().collect();
        rooms.sort_by_key(|room| std::cmp::Reverse(room["order"].as_u64()));
        for room in &mut rooms {
            room.remove("order");
        }
        let in_rooms =
            |user: &str| rooms.iter().any(|room| room["users"].as_array().expect("ids").contains(&json!(user)));
        let there: BTreeMap<_, _> = self.there.iter().filter(|(user, _)| in_rooms(user)).collect();
        json!({"rooms": rooms, "there": there})
    }

    fn apply(&mut self, me: Uuid, event: &Event) {
        let data = &event.data;
        match event.name.as_str() {
            "room_created_with_you" => self.add_room(me, data),
            "new_message" => self.add_message(me, data),
            "new_last_view" => self.see(me, data),
            "presence" => self.presence(data),
            "activity_change" => self.set_status(&data["user_id"], &data["activity_state"]),
            "typing_change" => {
                let key = (text(&data["room_id"]).to_owned(), text(&data["user_id"]).to_owned());
                if data["currently_typing"] == true {
                    self.typing.insert(key)
                } else {
                    self.typing.remove(&key)
                };
            }
            "hello" | "heartbeat" => {}
            other => panic!("{other} is not expected here"),
        }
    }

    fn room(&mut self, data: &Value) -> &mut Map<String, Value> {
        let id: Uuid = text(&data["room_id"]).parse().expect("a UUID");
        self.rooms.get_mut(&id).expect("a room that was told of")
    }

    fn add_room(&mut self, me: Uuid, data: &Value) {
        let mut room = Map::new();
        for field in ["company", "creator_id", "users"] {
            room.insert(field.to_owned(), data[field].clone());
        }
        if let Some(selected) = data.get("selected_campaign_id") {
            room.insert("selected_campaign_id".to_owned(), selected.clone());
        }
        let members = data["users"].as_array().expect("people").len();
        room.insert("id".to_owned(), data["room_id"].clone());
        room.insert("users_total".to_owned(), json!(members - 1));
        room.insert("messages".to_owned(), json!([]));
        room.insert("contracts".to_owned(), json!([]));
        room.insert("has_more".to_owned(), json!(false));
        room.insert("new_messages".to_owned(), json!(0));
        self.settle_people(&mut room);
        let mut users = room["users"].as_array().expect("ids").clone();
        users.sort_by_key(|id| text(id).to_owned());
        let seen: Map<String, Value> = users.iter().map(|id| (text(id).to_owned(), json!(0))).collect();
        room.insert("users".to_owned(), json!(users));
        room.insert("last_seen".to_owned(), Value::Object(seen));
        self.rooms.insert(text(&data["room_id"]).parse().expect("a UUID"), room);
        self.add_message(me, data);
    }

    fn add_message(&mut self, me: Uuid, data: &Value) {
        let newest = self.rooms.values().filter_map(|room| room.get("order")?.as_u64()).max();
        let room = self.room(data);
        let mut message = data["message"].clone();
        let author = message["from_user"]["id"].clone();
        message["from_user"] = author.clone();
        room.insert("order".to_owned(), json!(newest.map_or(0, |newest| newest + 1)));
        room.insert("last_message".to_owned(), message.clone());
        room["messages"].as_array_mut().expect("messages").push(message.clone());
        let proposed = message["contract_change"].get("campaign_id");
        if let Some(selected) = message.get("change_selected_campaign_to").or(proposed) {
            room.insert("selected_campaign_id".to_owned(), selected.clone());
        }
        room.remove("contract");
        if let Some(contract) = data.get("contract") {
            room.insert("contract".to_owned(), contract.clone());
            let contracts = room["contracts"].as_array_mut().expect("contracts");
            contracts.retain(|other| other["campaign_id"] != contract["campaign_id"]);
            contracts.push(contract.clone());
            contracts.sort_by_key(|contract| text(&contract["campaign_id"]).to_owned());
        }
        let own = author == json!(me);
        room["last_seen"][text(&author)] = message["id"].clone();
        room["new_messages"] = json!(if own { 0 } else { room["new_messages"].as_i64().expect("a number") + 1 });
        let users = room["users"].as_array_mut().expect("ids");
        users.retain(|id| *id != author);
        users.insert(0, author);
    }

    /// Whoever only looked stands behind those who wrote, the latest first.
    fn see(&mut self, me: Uuid, data: &Value) {
        let room = self.room(data);
        let user = &data["user_id"];
        room["last_seen"][text(user)] = data["message_id"].clone();
        if *user == json!(me) {
            let last = room["last_message"]["id"].as_i64().expect("a number");
            room["new_messages"] = json!(last - data["message_id"].as_i64().expect("a number"));
        }
        let authors: BTreeSet<String> = room["messages"]
            .as_array()
            .expect("messages")
            .iter()
            .map(|message| text(&message["from_user"]).to_owned())
            .collect();
        if !authors.contains(text(user)) {
            let users = room["users"].as_array_mut().expect("ids");
            users.retain(|id| id != user);
            let behind = users.iter().take_while(|id| authors.contains(text(id))).count();
            users.insert(behind, user.clone());
        }
    }
}

#[track_caller]
fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}
