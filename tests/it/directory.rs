//! The directory: what the host application puts in, and what its changes do to people who are talking.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Cast, Database, Server, id};

on_every_database!(
    an_entry_is_created_then_replaced_and_can_be_read,
    values_that_are_none_are_refused_by_pointer,
    a_campaign_never_moves_to_another_company,
    a_creator_never_joins_their_counterparty,
    a_batch_is_applied_in_order,
    a_batch_is_applied_wholly_or_not_at_all,
    a_closed_campaign_takes_no_proposal_and_keeps_its_contracts,
    a_joiner_finds_every_room_and_everything_seen,
    a_leaver_finds_nothing_and_hears_nothing,
    a_deactivated_user_is_refused_and_cut_off,
    an_erased_user_is_called_deleted_user,
    a_user_who_comes_back_must_fetch_again,
    a_new_name_is_shown_in_later_answers_and_cuts_nobody_off
);

async fn put_user(cast: &Cast, user: Uuid, name: &str, company: Option<Uuid>) -> crate::harness::Answer {
    let body = json!({"given_name": name, "family_name": "T", "logo_url": "", "company_id": company});
    cast.service.put(&format!("/v1/users/{user}"), &body).await
}

async fn batch(cast: &Cast, operations: &[Value]) -> crate::harness::Answer {
    cast.service.post("/v1/directory/batch", &json!({"operations": operations})).await
}

async fn an_entry_is_created_then_replaced_and_can_be_read(database: Database) {
    let server = Server::start(&database).await;
    let service = server.service();
    let company = id(1);
    let logo = "https://example.com/a.png";
    for (path, id, first, second) in [
        ("companies", company, json!({"name": "A", "logo_url": ""}), json!({"name": "B", "logo_url": logo})),
        (
            "campaigns",
            id(2),
            json!({"company_id": company, "name": "A", "open": true}),
            json!({"company_id": company, "name": "B", "open": false}),
        ),
        (
            "users",
            id(3),
            json!({"given_name": "A", "family_name": "B", "logo_url": logo, "company_id": company}),
            json!({"given_name": "C", "family_name": "D", "logo_url": ""}),
        ),
    ] {
        let path = format!("/v1/{path}/{id}");
        service.get(&path).await.refused(404, "not_found");
        for (status, body) in [(201, first), (200, second.clone()), (200, second)] {
            let mut entry = body.clone();
            entry["id"] = json!(id);
            if path.contains("users") {
                entry["active"] = json!(true);
            }
            assert_eq!(service.put(&path, &body).await.expect(status), entry);
            assert_eq!(service.get(&path).await.expect(200), entry);
        }
    }
    service.delete(&format!("/v1/users/{}", id(4))).await.refused(404, "not_found");
}

async fn values_that_are_none_are_refused_by_pointer(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let good = json!({"given_name": "A", "family_name": "B", "logo_url": ""});
    let user = format!("/v1/users/{}", id(3));
    for (field, value) in [
        ("given_name", json!("")),
        ("given_name", json!("a".repeat(201))),
        ("family_name", json!("a\u{0}")),
        ("logo_url", json!("/a.png")),
        ("logo_url", json!("javascript:alert(1)")),
        ("company_id", json!(id(0xbad))),
        ("compnay_id", json!(cast.north)),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let problem = cast.service.put(&user, &body).await;
        assert_eq!((problem.status, &problem.body["errors"][0]["pointer"]), (422, &json!(format!("/{field}"))));
    }
    put_user(&cast, id(3), &"é".repeat(200), None).await.expect(201);
    put_user(&cast, id(3), "A", Some(id(0xbad))).await.refused(422, "unknown_company");
    let campaign = json!({"company_id": id(0xbad), "name": "A", "open": true});
    let problem = cast.service.put(&format!("/v1/campaigns/{}", id(4)), &campaign).await;
    assert_eq!(problem.refused(422, "unknown_company")["errors"][0]["pointer"], "/company_id");
}

async fn a_campaign_never_moves_to_another_company(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let body = json!({"company_id": cast.lumen, "name": "Spring", "open": true});
    cast.service.put(&format!("/v1/campaigns/{}", cast.spring), &body).await.refused(409, "company_fixed");
    let campaign = cast.service.get(&format!("/v1/campaigns/{}", cast.spring)).await.expect(200);
    assert_eq!(campaign["company_id"], json!(cast.north));
}

async fn a_creator_never_joins_their_counterparty(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    put_user(&cast, cast.ada.id(), "Ada", Some(cast.north)).await.refused(409, "is_counterparty");
    put_user(&cast, cast.ada.id(), "Ada", Some(cast.lumen)).await.expect(200);
    assert_eq!(cast.ada.say(room, "Still the creator here").await, 2);
    put_user(&cast, cast.ada.id(), "Ada", Some(cast.north)).await.refused(409, "is_counterparty");
}

async fn a_batch_is_applied_in_order(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (company, user) = (id(1), id(2));
    let named = |name: &str| json!({"type": "put_user", "id": user, "given_name": name, "family_name": "T", "logo_url": "", "company_id": company});
    let operations = [
        json!({"type": "put_company", "id": company, "name": "New", "logo_url": ""}),
        named("First"),
        json!({"type": "delete_user", "id": user}),
        named("Last"),
    ];
    assert_eq!(batch(&cast, &operations).await.expect(200), json!({"applied": 4}));
    let entry = cast.service.get(&format!("/v1/users/{user}")).await.expect(200);
    assert_eq!((&entry["given_name"], &entry["active"]), (&json!("Last"), &json!(true)));
    assert_eq!(batch(&cast, &[]).await.expect(200), json!({"applied": 0}));
}

async fn a_batch_is_applied_wholly_or_not_at_all(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let company = |n: u32| json!({"type": "put_company", "id": id(n), "name": "New", "logo_url": ""});
    let user = |id: Uuid, name: &str, company: Uuid| json!({"type": "put_user", "id": id, "given_name": name, "family_name": "T", "logo_url": "", "company_id": company});
    for (culprit, status, pointer) in [
        (user(id(9), "A", id(0xbad)), 422, "/operations/1/company_id"),
        (user(id(9), "", cast.north), 422, "/operations/1/given_name"),
        (user(cast.ada.id(), "Ada", cast.north), 409, "/operations/1"),
        (json!({"type": "delete_user", "id": id(9)}), 404, "/operations/1"),
        (
            json!({"type": "put_campaign", "id": cast.spring, "company_id": cast.lumen, "name": "A", "open": true}),
            409,
            "/operations/1",
        ),
    ] {
        let answer = batch(&cast, &[company(1), culprit, company(2)]).await;
        assert_eq!((answer.status, &answer.body["errors"][0]["pointer"]), (status, &json!(pointer)), "{}", answer.body);
    }
    cast.service.get(&format!("/v1/companies/{}", id(1))).await.refused(404, "not_found");
    assert_eq!(cast.ada.say(room, "As before").await, 2);

    let mut most: Vec<Value> = (0..1_000).map(|n| company(0x1000 + n)).collect();
    assert_eq!(batch(&cast, &most).await.expect(200), json!({"applied": 1_000}));
    most.push(company(0x2000));
    let problem = batch(&cast, &most).await;
    assert_eq!((problem.status, &problem.body["errors"][0]["pointer"]), (422, &json!("/operations")));
    cast.service.get(&format!("/v1/companies/{}", id(0x2000))).await.refused(404, "not_found");
}

async fn a_closed_campaign_takes_no_proposal_and_keeps_its_contracts(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let other = cast.kofi.open_room(cast.north, "Hi!").await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    let closed = json!({"company_id": cast.north, "name": "Spring", "open": false});
    cast.service.put(&format!("/v1/campaigns/{}", cast.spring), &closed).await.expect(200);

    for room in [room, other] {
        cast.nora.propose(room, cast.spring, 100).await.refused(422, "campaign_closed");
    }
    for (who, change) in
        [(&cast.ada, "accepted_by_creator"), (&cast.ada, "finished_by_creator"), (&cast.nora, "approved_by_company")]
    {
        who.change(room, &json!({"type": change})).await.expect(201);
    }
    assert_eq!(cast.ada.room(room).await["contracts"][0]["state"], "approved");
}

async fn a_joiner_finds_every_room_and_everything_seen(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let (first, second) = (cast.ada.open_room(cast.north, "Hi!").await, cast.kofi.open_room(cast.north, "Hi!").await);
    cast.ada.say(first, "Anybody there?").await;
    let zoe = server.actor(id(0xe7));
    put_user(&cast, zoe.id(), "Zoe", Some(cast.north)).await.expect(201);

    let rooms = zoe.rooms().await;
    let shown: Vec<_> = rooms["rooms"].as_array().unwrap().iter().map(|r| (&r["id"], &r["new_messages"])).collect();
    assert_eq!(shown, [(&json!(first), &json!(0)), (&json!(second), &json!(0))]);
    assert_eq!(rooms["new_messages_total"], 0);
    assert_eq!(zoe.room(first).await["new_messages"], 0);

    let mut stream = zoe.stream().await;
    cast.ada.say(first, "Hello Zoe").await;
    assert_eq!(stream.next_news().await.data["message"]["content"], "Hello Zoe");
    assert_eq!(zoe.rooms().await["new_messages_total"], 1);

    // A creator who joins another company has seen everything there, and what they had not seen of their own stays.
    cast.nora.say(second, "Hi Kofi").await;
    let lumens = cast.ada.open_room(cast.lumen, "Hi!").await;
    put_user(&cast, cast.kofi.id(), "Kofi", Some(cast.lumen)).await.expect(200);
    assert_eq!(cast.kofi.room(lumens).await["new_messages"], 0);
    assert_eq!(cast.kofi.room(second).await["new_messages"], 1);
    assert_eq!(cast.kofi.rooms().await["new_messages_total"], 1);
}

async fn a_leaver_finds_nothing_and_hears_nothing(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut streams = [cast.ben.stream().await, cast.ben.stream().await];
    let (mut nora, cursor) = (cast.nora.stream().await, cast.ben.rooms().await["position"].clone());
    put_user(&cast, cast.ben.id(), "Ben", Some(cast.lumen)).await.expect(200);
    cast.ada.say(room, "What Ben must not hear").await;

    for stream in &mut streams {
        assert_eq!(stream.next_of("goodbye").await["reason"], "access_changed");
        assert!(stream.maybe_next().await.is_none(), "nothing after goodbye");
    }
    assert_eq!(nora.next_news().await.data["message"]["content"], "What Ben must not hear");
    cast.ben.get(&format!("/v1/rooms/{room}")).await.refused(404, "not_found");
    cast.ben.message(room, &json!({"content": "Hi"})).await.refused(404, "not_found");
    assert_eq!(cast.ben.rooms().await["rooms"], json!([]));
    assert_resync(&cast.ben, cursor.as_str().unwrap()).await;

    let colleagues = cast.nora.room(room).await["users"].clone();
    assert!(colleagues.as_array().unwrap().iter().all(|user| user["id"] != json!(cast.ben.id())), "{colleagues}");
}

/// The cursor is of another time; the one that is given instead is good.
async fn assert_resync(who: &Actor, cursor: &str) {
    let mut stream = who.stream_after(cursor).await;
    assert_eq!(stream.hello.data["resumed"], false);
    assert_eq!(stream.next_of("resync").await["reason"], "membership_changed");
    let resumed = who.stream_after(&stream.last_id).await;
    assert_eq!(resumed.hello.data["resumed"], true);
}

async fn a_deactivated_user_is_refused_and_cut_off(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.ben.say(room, "Ben speaking").await;
    let mut stream = cast.ben.stream().await;
    let ben = format!("/v1/users/{}", cast.ben.id());
    cast.service.delete(&ben).await.expect(204);

    assert_eq!(stream.goodbye().await, "access_changed");
    for path in ["/v1/rooms", &format!("/v1/rooms/{room}"), "/v1/events"] {
        cast.ben.get(path).await.refused(403, "deactivated");
    }
    cast.ben.message(room, &json!({"content": "Hi"})).await.refused(403, "deactivated");
    cast.ben.post("/v1/events/session", &json!({})).await.refused(403, "deactivated");
    cast.service.delete(&ben).await.expect(204);
    let entry = cast.service.get(&ben).await.expect(200);
    assert_eq!((&entry["given_name"], &entry["active"]), (&json!("Ben"), &json!(false)));

    let detailed = cast.ada.room(room).await;
    assert_eq!(detailed["messages"][1]["content"], "Ben speaking");
    let shown = detailed["users"].as_array().unwrap().iter().find(|user| user["id"] == json!(cast.ben.id())).unwrap();
    assert_eq!((&shown["given_name"], &shown["status"]), (&json!("Ben"), &json!("offline")));
    assert_eq!(shown["company"]["name"], "Northwind");
}

async fn an_erased_user_is_called_deleted_user(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let ada = format!("/v1/users/{}", cast.ada.id());
    for wrong in ["?erase=perhaps", "?erased=true"] {
        assert_eq!(cast.service.delete(&format!("{ada}{wrong}")).await.status, 422);
    }
    cast.service.delete(&format!("{ada}?erase=true")).await.expect(204);
    let entry = cast.service.get(&ada).await.expect(200);
    assert_eq!((&entry["given_name"], &entry["family_name"]), (&json!("Deleted"), &json!("user")));

    let detailed = cast.nora.room(room).await;
    assert_eq!(detailed["messages"][0]["content"], "Hi!");
    let shown = detailed["users"].as_array().unwrap().iter().find(|user| user["id"] == json!(cast.ada.id())).unwrap();
    assert_eq!((&shown["given_name"], &shown["family_name"]), (&json!("Deleted"), &json!("user")));
    assert_eq!(cast.nora.say(room, "So long").await, 2);
}

async fn a_user_who_comes_back_must_fetch_again(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let cursor = cast.ada.rooms().await["position"].clone();
    cast.service.delete(&format!("/v1/users/{}", cast.ada.id())).await.expect(204);
    put_user(&cast, cast.ada.id(), "Ada", None).await.expect(200);

    assert_resync(&cast.ada, cursor.as_str().unwrap()).await;
    let mut stream = cast.ada.stream().await;
    assert_eq!(cast.ada.say(room, "Back again").await, 2);
    assert_eq!(stream.next_news().await.data["message"]["content"], "Back again");
}

async fn a_new_name_is_shown_in_later_answers_and_cuts_nobody_off(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut stream = cast.nora.stream().await;
    put_user(&cast, cast.nora.id(), "Eleonora", Some(cast.north)).await.expect(200);
    let company = json!({"name": "Southwind", "logo_url": ""});
    cast.service.put(&format!("/v1/companies/{}", cast.north), &company).await.expect(200);
    cast.nora.say(room, "Under a new name").await;

    let news = stream.next_news().await.data;
    for nora in [
        &news["message"]["from_user"],
        &cast.ada.rooms().await["rooms"][0]["users"][0],
        &cast.ada.room(room).await["users"][0],
    ] {
        assert_eq!((&nora["given_name"], &nora["company"]["name"]), (&json!("Eleonora"), &json!("Southwind")));
    }
    assert_eq!(cast.ada.rooms().await["rooms"][0]["company"]["name"], "Southwind");
    assert_eq!(cast.nora.stream_after(&stream.hello.id).await.hello.data["resumed"], true);
}
