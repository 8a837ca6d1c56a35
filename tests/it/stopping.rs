//! Stopping is graceful: streams hear why, what was answered is kept, and it takes less than 5 s (promise 15).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use haggle::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Actor, Database, Server, eventually};

on_every_database!(
    a_stop_under_load_loses_nothing_that_was_answered,
    streams_hear_of_the_stop,
    a_stream_opened_during_the_stop_hears_of_it_too,
);

/// What a server may take to stop.
const IN_TIME: Duration = Duration::from_secs(5);

/// Sends until the server is gone; returns what was answered with success, as (key, number).
async fn send_until_gone(actor: Actor, room: Uuid, sent: Arc<AtomicUsize>) -> Vec<(Uuid, i64)> {
    let mut answered = Vec::new();
    loop {
        let key = Clock::System.new_id();
        let request = actor.request(Method::POST, &format!("/v1/rooms/{room}/messages"));
        let request = request.header("Idempotency-Key", key.to_string()).json(&json!({"content": "x"}));
        let Ok(answer) = request.send().await else { return answered };
        if answer.status() == 201 {
            let Ok(body) = answer.json::<Value>().await else { return answered };
            answered.push((key, body["id"].as_i64().expect("a number")));
            sent.fetch_add(1, Ordering::Relaxed);
        } else {
            assert_eq!(answer.status(), 503, "nothing else while it stops");
        }
    }
}

/// To see it fail, answer before the commit, or drop the writer's queue when stopping.
async fn a_stop_under_load_loses_nothing_that_was_answered(database: Database) {
    let mut server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi!").await;
    let mut streams = Vec::new();
    for who in [&cast.ada, &cast.nora, &cast.ben] {
        for _ in 0..20 {
            streams.push(who.stream().await);
        }
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let writers = [&cast.ada, &cast.nora, &cast.ben].map(|who| send_until_gone(who.clone(), room, sent.clone()));
    let writers = writers.map(tokio::spawn);
    while sent.load(Ordering::Relaxed) < 50 {
        streams[0].next_of("new_message").await;
    }
    let reading = tokio::spawn(async move {
        for stream in &mut streams {
            assert_eq!(stream.goodbye().await, "shutting_down");
        }
    });
    let asked = Instant::now();
    server.stop().await;
    assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
    reading.await.expect("every stream hears of it");

    let server = server.restart().await;
    let ada = cast.ada.at(&server);
    for writer in writers {
        for (key, number) in writer.await.expect("a writer") {
            let page = ada.get(&format!("/v1/rooms/{room}?message_before={}&message_qty=1", number + 1)).await;
            assert_eq!(page.expect(200)["messages"][0]["message_id"], json!(key), "message {number}");
        }
    }
}

async fn streams_hear_of_the_stop(database: Database) {
    let mut server = Server::start(&database).await;
    let cast = server.cast().await;
    let mut all = cast.service.stream_at("/v1/events?all=true").await;
    let mut nora = cast.nora.stream().await;
    let asked = Instant::now();
    let ((), one, other) = tokio::join!(server.stop(), nora.goodbye(), all.goodbye());
    assert_eq!((one.as_str(), other.as_str()), ("shutting_down", "shutting_down"));
    assert!(asked.elapsed() < Duration::from_secs(2), "readers that leave keep nobody waiting: {:?}", asked.elapsed());
}

/// Also one whose request was on its way when the others were ended.
async fn a_stream_opened_during_the_stop_hears_of_it_too(database: Database) {
    let mut server = Server::start(&database).await;
    let cast = server.cast().await;
    let opening = (0..8).map(|_| {
        let nora = cast.nora.clone();
        tokio::spawn(async move {
            // Until the port refuses, each stream that was answered must end with a goodbye.
            while let Ok(answer) = nora.request(Method::GET, "/v1/events?viewing=false").send().await {
                let Ok(text) = answer.text().await else { return };
                assert!(text.contains(r#""reason":"shutting_down""#), "{text}");
            }
        })
    });
    let opening: Vec<_> = opening.collect();
    eventually("a stream opens", async || server.streams().app.hub.streams() > 0).await;
    let asked = Instant::now();
    server.stop().await;
    assert!(asked.elapsed() < IN_TIME, "{:?}", asked.elapsed());
    for task in opening {
        task.await.expect("a goodbye");
    }
}
