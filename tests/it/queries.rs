//! What the queries answer: lists, pages, people, counts, and a position that the event stream goes on from.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Cast, Database, Server, id};

on_every_database!(
    rooms_come_newest_message_first,
    listed_users_are_the_most_active_members_but_the_caller,
    the_author_of_the_last_message_is_listed_even_after_leaving,
    everyone_who_wrote_on_the_page_is_listed,
    new_messages_are_counted_exactly,
    the_list_shows_the_contract_of_the_selected_campaign,
    pages_of_rooms_miss_none_and_double_none,
    pages_of_messages_meet_without_gap_or_overlap,
    a_room_tells_how_far_its_listed_users_have_seen,
    the_host_application_reads_any_room,
    wrong_and_unknown_parameters_are_refused,
    a_position_continues_in_the_stream_without_gap_or_repeat,
    answers_are_not_kept_by_caches
);

/// The strings at `field` of each item.
fn each<'a>(items: &'a Value, field: &str) -> Vec<&'a Value> {
    items.as_array().expect("a list").iter().map(|item| &item[field]).collect()
}

/// How somebody is listed.
fn listed(users: &Value, who: Uuid) -> &Value {
    users.as_array().expect("a list").iter().find(|user| user["id"] == json!(who)).expect("is listed")
}

/// Puts people with these ids into the directory: creators, or employees of a company.
async fn crowd(server: &Server, ids: impl Iterator<Item = u32>, company: Option<Uuid>) -> Vec<Actor> {
    let people: Vec<Actor> = ids.map(|n| server.actor(id(n))).collect();
    let put = |who: &Actor| json!({"type": "put_user", "id": who.id(), "given_name": "N", "family_name": "T", "logo_url": "", "company_id": company});
    let operations: Vec<Value> = people.iter().map(put).collect();
    server.service().post("/v1/directory/batch", &json!({"operations": operations})).await.expect(200);
    people
}

async fn move_to(cast: &Cast, who: Uuid, company: Uuid) {
    let body = json!({"given_name": "Moved", "family_name": "T", "logo_url": "", "company_id": company});
    cast.service.put(&format!("/v1/users/{who}"), &body).await.expect(200);
}

async fn rooms_come_newest_message_first(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    assert_eq!(cast.ada.rooms().await["rooms"], json!([]));
    let north = cast.ada.open_room(cast.north, "Hi North").await;
    let lumen = cast.ada.open_room(cast.lumen, "Hi Lumen").await;
    assert_eq!(each(&cast.ada.rooms().await["rooms"], "id"), [&json!(lumen), &json!(north)]);
    cast.ada.see(lumen, 1).await.expect(200);
    cast.nora.say(north, "Hi Ada").await;

    let rooms = cast.ada.rooms().await["rooms"].clone();
    assert_eq!(each(&rooms, "id"), [&json!(north), &json!(lumen)]);
    let last = &rooms[0]["last_message"];
    assert_eq!((&last["id"], &last["content"], &last["side"]), (&json!(2), &json!("Hi Ada"), &json!("company")));
    assert_eq!(last["from_user"], json!(cast.nora.id()), "in queries, the id");
    assert_eq!((&rooms[0]["creator_id"], &rooms[0]["company"]["name"]), (&json!(cast.ada.id()), &json!("Northwind")));
    for absent in ["selected_campaign_id", "contract"] {
        assert!(rooms[0].get(absent).is_none(), "{absent} has no value, and is absent");
    }
    assert_eq!(each(&cast.luca.rooms().await["rooms"], "id"), [&json!(lumen)]);
}

async fn listed_users_are_the_most_active_members_but_the_caller(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let crowd = crowd(&server, 0x100..0x119, Some(cast.north)).await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    crowd[20].say(room, "One").await;
    crowd[9].say(room, "Two").await;
    crowd[24].see(room, 1).await.expect(200);
    crowd[22].see(room, 1).await.expect(200);

    // By latest message, by latest view, by id; of 25, Nora and Ben.
    let mut expected: Vec<Value> = [9, 20, 22, 24].map(|n: usize| json!(crowd[n].id())).into();
    let rest = [&cast.nora, &cast.ben].into_iter().chain(&crowd);
    expected.extend(rest.map(|who| json!(who.id())).filter(|id| !expected.contains(id)).take(16).collect::<Vec<_>>());
    let listed = cast.ada.rooms().await["rooms"][0].clone();
    assert_eq!(each(&listed["users"], "id"), expected.iter().collect::<Vec<_>>());
    assert_eq!(listed["users_total"], 27);
    assert_eq!(listed["users"][0]["company"]["id"], json!(cast.north));

    // To an employee: Ada, who wrote first, and colleagues.
    let listed = crowd[9].rooms().await["rooms"][0].clone();
    let ids = each(&listed["users"], "id");
    assert_eq!(ids[..4], [&json!(crowd[20].id()), &json!(cast.ada.id()), &expected[2], &expected[3]]);
    assert_eq!((ids.len(), &listed["users_total"]), (20, &json!(27)));
    assert!(!ids.contains(&&json!(crowd[9].id())));
    assert!(listed["users"][1].get("company").is_none(), "a creator has none");

    // In the room itself the caller is among them, however little they did.
    let detailed = crowd[15].room(room).await;
    let ids = each(&detailed["users"], "id");
    assert_eq!(ids[..3], [&expected[0], &expected[1], &json!(cast.ada.id())]);
    assert!(ids.contains(&&json!(crowd[15].id())));
    assert_eq!((ids.len(), &detailed["users_total"]), (21, &json!(28)));
}

async fn the_author_of_the_last_message_is_listed_even_after_leaving(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let crowd = crowd(&server, 0x100..0x119, Some(cast.north)).await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    crowd[3].say(room, "Soon to leave").await;
    for colleague in &crowd[4..] {
        colleague.see(room, 2).await.expect(200);
    }
    move_to(&cast, crowd[3].id(), cast.lumen).await;
    let mut there = crowd[3].stream().await;
    there.next_of("presence").await;

    let listed_room = cast.ada.rooms().await["rooms"][0].clone();
    let author = listed(&listed_room["users"], crowd[3].id());
    assert_eq!((&author["company"]["name"], &author["status"]), (&json!("Northwind"), &json!("offline")));
    assert_eq!(listed_room["users"].as_array().unwrap().len(), 20);
    assert_eq!(listed_room["users_total"], 26);
    // Nobody is listed as an author to themselves.
    cast.ada.say(room, "Mine").await;
    let listed_room = cast.ada.rooms().await["rooms"][0].clone();
    assert!(!each(&listed_room["users"], "id").contains(&&json!(cast.ada.id())));
}

async fn everyone_who_wrote_on_the_page_is_listed(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let crowd = crowd(&server, 0x100..0x119, Some(cast.north)).await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    for colleague in &crowd {
        colleague.say(room, "Me too").await;
    }
    move_to(&cast, crowd[0].id(), cast.lumen).await;
    let mut there = crowd[0].stream().await;
    there.next_of("presence").await;

    let detailed = cast.ada.room(room).await;
    let (ids, authors) = (each(&detailed["users"], "id"), each(&detailed["messages"], "from_user"));
    assert!(authors.iter().all(|author| ids.contains(author)), "{ids:?}");
    assert_eq!(ids.len(), 26, "each once");
    let former = listed(&detailed["users"], crowd[0].id());
    assert_eq!((&former["company"]["name"], &former["status"]), (&json!("Northwind"), &json!("offline")));
    assert_eq!(detailed["users_total"], 27);

    let path = format!("/v1/rooms/{room}?message_qty=1");
    let newest = cast.ada.get(&path).await.expect(200);
    assert_eq!(newest["users"].as_array().unwrap().len(), 21, "the most active and the caller");
}

async fn new_messages_are_counted_exactly(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let first = cast.ada.open_room(cast.north, "Hi!").await;
    let second = cast.kofi.open_room(cast.north, "Hi!").await;
    cast.ada.say(first, "And more").await;
    let counts = async |who: &Actor| {
        let rooms = who.rooms().await;
        let of = |room| {
            let mut found = rooms["rooms"].as_array().unwrap().iter().filter(|listed| listed["id"] == json!(room));
            found.next().map(|room| room["new_messages"].as_i64().unwrap())
        };
        (of(first), of(second), rooms["new_messages_total"].as_i64().unwrap())
    };
    assert_eq!(counts(&cast.nora).await, (Some(2), Some(1), 3));
    assert_eq!(counts(&cast.ada).await, (Some(0), None, 0), "one's own are seen");
    cast.nora.see(first, 1).await.expect(200);
    assert_eq!(counts(&cast.nora).await, (Some(1), Some(1), 2));
    cast.nora.say(second, "Hi Kofi").await;
    assert_eq!(counts(&cast.nora).await, (Some(1), Some(0), 1), "writing is seeing");
    assert_eq!(counts(&cast.ben).await, (Some(2), Some(2), 4), "each for themselves");
    assert_eq!(counts(&cast.kofi).await, (None, Some(1), 1));
    assert_eq!(cast.nora.room(first).await["new_messages"], 1);
    assert_eq!(counts(&cast.nora).await, (Some(1), Some(0), 1), "reading marks nothing");
    let page = cast.ben.get("/v1/rooms?limit=1").await.expect(200);
    assert_eq!(page["new_messages_total"], 4, "of all rooms, not of the page");
}

async fn the_list_shows_the_contract_of_the_selected_campaign(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    cast.nora.propose(room, cast.autumn, 200).await.expect(201);
    let listed = cast.ada.rooms().await["rooms"][0].clone();
    assert_eq!(listed["selected_campaign_id"], json!(cast.autumn));
    assert_eq!(
        listed["contract"],
        json!({"campaign_id": cast.autumn, "state": "proposed", "payout": 200, "version": 1,
            "changed_by": cast.nora.id(), "changed_in": 3})
    );
    let switch = json!({"content": "", "change_selected_campaign_to": cast.spring});
    cast.ada.message(room, &switch).await.expect(201);
    let listed = cast.ada.rooms().await["rooms"][0].clone();
    assert_eq!((&listed["contract"]["payout"], &listed["last_message"]["id"]), (&json!(100), &json!(4)));

    let detailed = cast.ada.room(room).await;
    assert_eq!(detailed["selected_campaign_id"], json!(cast.spring));
    assert_eq!(each(&detailed["contracts"], "payout"), [100, 200]);
}

async fn pages_of_rooms_miss_none_and_double_none(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut rooms = Vec::new();
    for creator in crowd(&server, 0x200..0x217, None).await {
        rooms.push(json!(creator.open_room(cast.north, "Hi!").await));
    }
    rooms.reverse();
    // Exactly full pages, a short last one, one room at a time, all at once.
    for limit in [1, 5, 23, 24, 200] {
        let (mut found, mut path, mut pages) = (Vec::new(), format!("/v1/rooms?limit={limit}"), 0);
        let position = cast.nora.rooms().await["position"].clone();
        loop {
            let answer = cast.nora.get(&path).await;
            let link = answer.header("link").to_owned();
            let page = answer.expect(200);
            found.extend(each(&page["rooms"], "id").into_iter().cloned());
            assert_eq!(page["position"], position);
            pages += 1;
            assert!(pages <= rooms.len(), "the pages come to an end");
            let Some(next) = page["next"].as_str() else {
                assert_eq!(link, "", "no link on the last page");
                break;
            };
            path = format!("/v1/rooms?limit={limit}&cursor={next}");
            assert_eq!(link, format!("<{path}>; rel=\"next\""));
        }
        assert_eq!((&found, pages), (&rooms, 23_usize.div_ceil(limit)), "limit {limit}");
    }
    // What moves between two pages is told by the stream from the first page's position on, and listed once at most.
    let first = cast.nora.get("/v1/rooms?limit=5").await.expect(200);
    for moved in [&rooms[1], &rooms[20]] {
        cast.nora.say(moved.as_str().unwrap().parse().unwrap(), "Moved").await;
    }
    let next = first["next"].as_str().unwrap();
    let rest = cast.nora.get(&format!("/v1/rooms?limit=200&cursor={next}")).await.expect(200);
    assert_eq!(rest["position"], first["position"]);
    let mut told = cast.nora.stream_at(&format!("/v1/events?after={}", first["position"].as_str().unwrap())).await;
    let told = [told.next_news().await.data["room_id"].clone(), told.next_news().await.data["room_id"].clone()];
    assert_eq!(told, [rooms[1].clone(), rooms[20].clone()]);
    let expected: Vec<&Value> = rooms[5..].iter().filter(|room| **room != told[1]).collect();
    assert_eq!(each(&rest["rooms"], "id"), expected);
}

async fn pages_of_messages_meet_without_gap_or_overlap(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "1").await;
    for number in 2..=60 {
        cast.ada.say(room, &number.to_string()).await;
    }
    let page = async |query: &str| cast.nora.get(&format!("/v1/rooms/{room}{query}")).await.expect(200);
    for (query, numbers, has_more) in [
        ("", 11..=60, true),
        ("?message_qty=60", 1..=60, false),
        ("?message_qty=59", 2..=60, true),
        ("?message_qty=200", 1..=60, false),
        ("?message_before=11", 1..=10, false),
        ("?message_qty=4&message_before=11", 7..=10, true),
        ("?message_qty=4&message_before=5", 1..=4, false),
        ("?message_qty=4&message_before=1000", 57..=60, true),
        ("?message_before=9007199254740991", 11..=60, true),
        ("?message_qty=4&message_before=2", 1..=1, false),
        #[expect(clippy::reversed_empty_ranges, reason = "no messages")]
        ("?message_before=1", 1..=0, false),
        #[expect(clippy::reversed_empty_ranges, reason = "no messages")]
        ("?message_qty=0", 1..=0, true),
    ] {
        let detailed = page(query).await;
        let expected: Vec<Value> = numbers.map(|number: i64| json!(number)).collect();
        assert_eq!(each(&detailed["messages"], "id"), expected.iter().collect::<Vec<_>>(), "{query}");
        assert_eq!(detailed["has_more"], json!(has_more), "{query}");
        assert_eq!(detailed["new_messages"], 60, "{query}: of the room, not of the page");
    }
    let times = page("?message_qty=200").await;
    assert!(each(&times["messages"], "timestamp").is_sorted_by_key(|time| time.as_str()), "time never runs back");
}

async fn a_room_tells_how_far_its_listed_users_have_seen(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.nora.say(room, "Hi Ada").await;
    cast.ada.see(room, 2).await.expect(200);
    cast.nora.say(room, "Well?").await;
    let detailed = cast.ben.room(room).await;
    let seen = |who: &Actor, till: i64| json!({"user_id": who.id(), "seen_till": till});
    assert_eq!(detailed["last_seen"], json!([seen(&cast.nora, 3), seen(&cast.ada, 2), seen(&cast.ben, 0)]));
    assert_eq!(each(&detailed["last_seen"], "user_id"), each(&detailed["users"], "id"));
}

async fn the_host_application_reads_any_room(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    cast.nora.propose(room, cast.spring, 100).await.expect(201);
    let read = cast.service.room(room).await;
    assert_eq!((each(&read["messages"], "id"), &read["new_messages"]), (vec![&json!(1), &json!(2)], &json!(0)));
    assert_eq!(read["users_total"], 3);
    assert_eq!(
        each(&read["users"], "id"),
        [cast.nora.id(), cast.ada.id(), cast.ben.id()].map(|id| json!(id)).each_ref()
    );

    cast.ada.change(room, &json!({"type": "accepted_by_creator"})).await.expect(201);
    let history = format!("/v1/rooms/{room}/contracts/{}/history", cast.spring);
    let told = cast.service.get(&history).await.expect(200);
    assert_eq!(told, cast.ada.get(&history).await.expect(200));
    let states: Vec<&Value> = told["changes"].as_array().unwrap().iter().map(|c| &c["contract"]["state"]).collect();
    assert_eq!(states, ["proposed", "accepted"]);
    let last = &told["changes"][1];
    let message = &cast.ada.room(room).await["messages"][2];
    assert_eq!((&last["message_id"], &last["timestamp"]), (&message["message_id"], &message["timestamp"]));
    assert_eq!((&last["change"], &last["from_user"]["given_name"]), (&message["contract_change"], &json!("Ada")));
}

async fn wrong_and_unknown_parameters_are_refused(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let foreign = "0123456789abcdef-7.5";
    for (query, pointer) in [
        ("?limit=0", "/limit"),
        ("?limit=201", "/limit"),
        ("?limit=-1", "/limit"),
        ("?limit=many", "/limit"),
        ("?cursor=next", "/cursor"),
        (&format!("?cursor={foreign}"), "/cursor"),
        ("?limit=5&offset=5", "/offset"),
    ] {
        let answer = cast.ada.get(&format!("/v1/rooms{query}")).await;
        assert_eq!(answer.refused(422, "invalid_value")["errors"][0]["pointer"], pointer, "{query}");
    }
    for (query, pointer) in [
        ("?message_qty=201", "/message_qty"),
        ("?message_qty=-1", "/message_qty"),
        ("?message_qty=1.5", "/message_qty"),
        ("?message_before=0", "/message_before"),
        ("?message_before=-5", "/message_before"),
        ("?message_before=9007199254740992", "/message_before"),
        ("?message_before=99999999999999999999", "/message_before"),
        ("?message_after=1", "/message_after"),
    ] {
        let answer = cast.ada.get(&format!("/v1/rooms/{room}{query}")).await;
        assert_eq!(answer.refused(422, "invalid_value")["errors"][0]["pointer"], pointer, "{query}");
    }
    cast.ada.get("/v1/rooms/not-a-room").await.refused(400, "malformed_request");
    cast.ada.get("/v1/events?since=1").await.refused(422, "invalid_value");
}

async fn a_position_continues_in_the_stream_without_gap_or_repeat(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "1").await;
    let ada = cast.ada.clone();
    let talking = tokio::spawn(async move {
        for number in 2..=60 {
            ada.say(room, &number.to_string()).await;
        }
    });
    let mut seen = 0;
    while seen < 60 {
        let rooms = cast.nora.rooms().await;
        let detailed = cast.nora.room(room).await;
        for (position, last) in [
            (&rooms["position"], &rooms["rooms"][0]["last_message"]["id"]),
            (&detailed["position"], &detailed["messages"].as_array().unwrap().last().unwrap()["id"]),
        ] {
            seen = last.as_i64().unwrap();
            let after = position.as_str().unwrap();
            let mut stream = cast.nora.stream_at(&format!("/v1/events?after={after}&viewing=false")).await;
            for next in seen + 1..=60 {
                let news = stream.next_news().await;
                assert_eq!((news.name.as_str(), &news.data["message"]["id"]), ("new_message", &json!(next)));
            }
        }
    }
    talking.await.unwrap();
}

async fn answers_are_not_kept_by_caches(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    for path in ["/v1/rooms".to_owned(), format!("/v1/rooms/{room}")] {
        assert_eq!(cast.ada.get(&path).await.header("cache-control"), "private, no-store");
    }
}
