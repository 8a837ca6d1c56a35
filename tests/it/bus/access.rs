//! Who may use the bus, and what passes on it.

use std::time::Duration;

use futures_util::StreamExt;
use haggle::app::App;
use haggle::clock::Clock;
use haggle::config::BusConfig;
use serde_json::{Value, json};

use crate::harness::nats::{self, Nats};
use crate::harness::{Database, Server, eventually};

const PATIENCE: Duration = Duration::from_secs(10);

/// Starts two nodes with this bus and waits until they hear each other.
pub async fn pair(database: &Database, bus: &BusConfig) -> (Server, Server) {
    let one = Server::start_with(database, |config| config.bus = Some(bus.clone())).await;
    let other = Server::start_with(database, |config| config.bus = Some(bus.clone())).await;
    eventually("the nodes meet", async || one.app.hub.peers() > 0 && other.app.hub.peers() > 0).await;
    (one, other)
}

/// Why a node with this bus does not start.
pub async fn refusal(database: &Database, bus: &BusConfig) -> String {
    let server = Server::start(database).await;
    let config = haggle::config::Config { bus: Some(bus.clone()), ..server.app.config.clone() };
    match Box::pin(App::start(config, Clock::shifted())).await {
        Ok(_) => panic!("the node starts"),
        Err(error) => error.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_password_in_the_url_let_in_and_wrong_ones_refuse_the_start() {
    let Some(nats) = Nats::start(&["--user", "haggle", "--pass", "sesame"]).await else { return };
    let Some(database) = Database::postgres().await else { return };
    let with = |user: &str, password: &str| {
        let mut url = nats.url();
        url.set_username(user).expect("a user");
        url.set_password(Some(password)).expect("a password");
        nats::bus(&url)
    };
    pair(&database, &with("haggle", "sesame")).await;
    pair(&database, &with("haggle", "ses%61me")).await;
    let why = refusal(&database, &with("haggle", "open")).await;
    assert!(why.starts_with("HAGGLE_BUS_URL: authorization violation"), "{why}");
    assert!(!why.contains("open"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_alone_is_a_token() {
    let Some(nats) = Nats::start(&["--auth", "sesame"]).await else { return };
    let Some(database) = Database::postgres().await else { return };
    let with = |token: &str| {
        let mut url = nats.url();
        url.set_username(token).expect("a user");
        nats::bus(&url)
    };
    pair(&database, &with("sesame")).await;
    assert!(refusal(&database, &with("open")).await.contains("authorization violation"));
}

#[tokio::test(flavor = "multi_thread")]
async fn subjects_carry_the_prefix_and_bodies_nothing_that_was_said() {
    let Some(nats) = Nats::start(&[]).await else { return };
    let Some(database) = Database::postgres().await else { return };
    let client = async_nats::connect(nats.url().as_str()).await.expect("NATS answers");
    let mut heard = client.subscribe(">").await.expect("a subscription");
    client.flush().await.expect("flushed");
    let bus = BusConfig { prefix: "acme.chat".to_owned(), ..nats::bus(&nats.url()) };
    let (one, other) = pair(&database, &bus).await;
    let cast = one.cast().await;
    let mut ada = cast.ada.at(&other).stream().await;
    let room = cast.ada.open_room(cast.north, "a secret offer").await;
    cast.nora.typing(room, true).await.expect(204);
    ada.next_of("typing_change").await;

    let epoch = one.app.hub.epoch.clone();
    let mut said = Vec::new();
    // The last thing: Nora's typing, told after everything else.
    while !said.contains(&json!("typing")) {
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.expect("in time").expect("a message");
        let body: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert!(!body.to_string().contains("secret offer"), "{body}");
        let of = if body["say"] == "committed" { "log" } else { "people" };
        assert_eq!(message.subject.as_str(), format!("acme.chat.{epoch}.{of}"));
        said.push(body["say"].clone());
    }
    for message in ["ask", "everybody", "changes", "committed"] {
        assert!(said.contains(&json!(message)), "{message} in {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deployments_that_share_a_bus_do_not_meet() {
    let Some(nats) = Nats::start(&[]).await else { return };
    let (Some(database), Some(elsewhere)) = (Database::postgres().await, Database::postgres().await) else { return };
    let bus = nats::bus(&nats.url());
    let (one, _other) = pair(&database, &bus).await;
    let stranger = Server::start_with(&elsewhere, |config| config.bus = Some(bus)).await;
    let _cast = stranger.cast().await;
    // What the stranger says reaches all subscribers before what it says next: both nodes have heard neither.
    let metrics = one.service().get("/metrics").await;
    assert_eq!((one.app.hub.peers(), stranger.app.hub.peers()), (1, 0), "{metrics:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_passed_over() {
    let Some(nats) = Nats::start(&[]).await else { return };
    let Some(database) = Database::postgres().await else { return };
    let (one, other) = pair(&database, &nats::bus(&nats.url())).await;
    let cast = one.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut ada = cast.ada.at(&other).stream().await;
    let client = async_nats::connect(nats.url().as_str()).await.expect("NATS answers");
    for subject in ["log", "people"] {
        let subject = format!("haggle.{}.{subject}", one.app.hub.epoch);
        for body in ["", "{", "[]", "null", "{\"node\":1}", "{\"node\":\"x\",\"say\":\"committed\",\"position\":-1}"] {
            client.publish(subject.clone(), body.into()).await.expect("published");
        }
        let node = "00000000-0000-0000-0000-00000000dead";
        for message in [
            json!({"node": node, "say": "committed", "position": i64::MAX}),
            json!({"node": node, "say": "committed", "position": i64::MIN}),
            json!({"node": node, "say": "changes", "number": u64::MAX, "people": []}),
            json!({"node": node, "say": "sing"}),
        ] {
            client.publish(subject.clone(), message.to_string().into()).await.expect("published");
        }
    }
    client.flush().await.expect("flushed");
    for n in 2..10 {
        cast.nora.say(room, "Still here").await;
        assert_eq!(ada.next_of("new_message").await["message"]["id"], n);
    }
}
