//! Rooms of five, as a marketplace has them: who is in which, put into a server over its API.

use futures_util::StreamExt;
use haggle::domain::{CompanyId, UserId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::SECRET;

/// People in a room: a creator, and the employees of the room's company.
pub const SEATS: usize = 5;
/// Operations of the directory in one request.
const BATCH: usize = 1_000;
/// Rooms that are opened at once.
const ROOMS_AT_ONCE: usize = 64;
/// How long tokens hold.
const TOKEN_LIFE: std::time::Duration = std::time::Duration::from_hours(24);

/// The company of a room; no other room has it.
pub fn company(room: usize) -> CompanyId {
    CompanyId(id(1, room, 0))
}

/// Who sits where; nobody sits in two rooms. Seat 0 is the creator's.
pub fn person(room: usize, seat: usize) -> UserId {
    UserId(id(2, room, seat))
}

/// A token of theirs.
pub fn token(room: usize, seat: usize) -> String {
    let now = haggle::clock::Clock::System.now();
    haggle::auth::mint(SECRET.as_bytes(), person(room, seat), TOKEN_LIFE, now, None, None)
}

fn id(kind: u128, room: usize, seat: usize) -> Uuid {
    Uuid::from_u128(kind << 96 | (room as u128) << 32 | seat as u128)
}

/// Puts everyone into the directory and opens so many rooms; their ids.
pub fn furnish(url: &str, rooms: usize) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let now = haggle::clock::Clock::System.now();
        let service = haggle::auth::mint_service(SECRET.as_bytes(), TOKEN_LIFE, now, None, None);
        let client = reqwest::Client::new();
        for operations in directory(rooms).chunks(BATCH) {
            post(&client, &format!("{url}/v1/directory/batch"), &service, &json!({ "operations": operations })).await;
        }
        let opened = futures_util::stream::iter(0..rooms).map(|room| open_room(&client, url, room));
        opened.buffered(ROOMS_AT_ONCE).collect().await
    })
}

/// Has the creator of each room list their rooms, as a server has been asked that is in use.
pub fn look_at_rooms(url: &str, rooms: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (client, url) = (reqwest::Client::new(), format!("{url}/v1/rooms"));
    let look = async |room| {
        let asked = client.get(&url).bearer_auth(token(room, 0)).send().await;
        assert!(asked.expect("the server answers").status().is_success());
    };
    runtime.block_on(futures_util::stream::iter(0..rooms).for_each_concurrent(ROOMS_AT_ONCE, look));
}

fn directory(rooms: usize) -> Vec<Value> {
    let mut operations = Vec::new();
    for room in 0..rooms {
        let (company, name) = (company(room), format!("Company {room}"));
        operations.push(json!({ "type": "put_company", "id": company, "name": name, "logo_url": "" }));
        for seat in 0..SEATS {
            let employer = (seat > 0).then_some(company);
            operations.push(json!({
                "type": "put_user", "id": person(room, seat), "given_name": format!("Seat {seat}"),
                "family_name": name, "logo_url": "", "company_id": employer,
            }));
        }
    }
    operations
}

async fn open_room(client: &reqwest::Client, url: &str, room: usize) -> String {
    let direction = json!({ "type": "user_to_company", "company_id": company(room) });
    let opening = json!({ "message": { "content": "Hello." }, "direction": direction });
    let opened = post(client, &format!("{url}/v1/rooms"), &token(room, 0), &opening).await;
    opened["room_id"].as_str().expect("the room's id").to_owned()
}

async fn post(client: &reqwest::Client, url: &str, token: &str, body: &Value) -> Value {
    let response = client.post(url).bearer_auth(token).json(body).send().await.expect("the server answers");
    let (status, text) = (response.status(), response.text().await.expect("an answer"));
    assert!(status.is_success(), "{url}: {status} {text}");
    serde_json::from_str(&text).expect("JSON")
}
