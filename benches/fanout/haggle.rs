//! Haggle, publishing as the others do: a request per event that is told and not kept.
//!
//! Everything from an entry on is the real thing: the app, its hub, streams that were authenticated, looked up and
//! taken over from hyper. Only the writer is left out, and the HTTP of those who publish, which is as bare as that of
//! `epoll.rs`: a second listener turns each POST into the entry that a committed message would be, at the next position.
//! One task hands to the hub what has come meanwhile, as the feed does with a commit.

use std::sync::Arc;

use clap::Parser;
use haggle::app::App;
use haggle::clock::Clock;
use haggle::config::Settings;
use haggle::domain::{
    Entry, EntryKind, Fingerprint, Message, MessageId, News, Number, Profile, RoomId, Side, Timestamp, Version,
};
use haggle::http::server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::epoll;
use crate::support::people::{company, person};

/// Events that may wait for the hub: more than there are publishers.
const WAITING: usize = 1_024;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
}

/// Serves until the process is ended; prints where the API is and where events are published.
pub fn serve() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let config = Cli::parse_from(["haggle"]).settings.resolve().expect("settings that hold");
        let app = App::start(config, Clock::System).await.expect("the app starts");
        let [api, publish] = [listen(), listen()];
        println!("{} {}", api.local_addr().expect("bound"), publish.local_addr().expect("bound"));
        let (entries, waiting) = mpsc::channel(WAITING);
        tokio::spawn(deliver(app.clone(), waiting));
        tokio::join!(haggle::http::serve(app, api, None, CancellationToken::new()), accept(publish, entries));
    });
}

fn listen() -> TcpListener {
    server::listen(([127, 0, 0, 1], 0).into()).expect("a free port")
}

/// One event: a room by its number, and a text.
type Event = (usize, String);

async fn accept(listener: TcpListener, events: mpsc::Sender<Event>) {
    while let Ok((publisher, _)) = listener.accept().await {
        tokio::spawn(take(publisher, events.clone()));
    }
}

/// Takes one publisher's events for as long as it stays.
async fn take(mut publisher: TcpStream, events: mpsc::Sender<Event>) {
    let _ = publisher.set_nodelay(true);
    let mut request = Vec::new();
    while publisher.read_buf(&mut request).await.is_ok_and(|read| read > 0) {
        let Some((_, room, body)) = epoll::parse(&request) else { continue };
        let text = String::from_utf8_lossy(&request[body..]).into_owned();
        request.clear();
        if events.send((room, text)).await.is_err() || publisher.write_all(epoll::TAKEN).await.is_err() {
            return;
        }
    }
}

async fn deliver(app: Arc<App>, mut waiting: mpsc::Receiver<Event>) {
    let mut events = Vec::new();
    while let Some(first) = waiting.recv().await {
        // Lets every connection that has brought something run first: under load a commit has many messages, too.
        tokio::task::yield_now().await;
        events.push(first);
        while let Ok(next) = waiting.try_recv() {
            events.push(next);
        }
        let (now, begin) = (app.clock.now(), app.hub.position() + 1);
        let entries = (begin..).zip(events.drain(..)).map(|(position, event)| entry(position, event, now));
        assert!(app.hub.deliver(entries.collect()), "nobody else delivers");
    }
}

/// What a message of a room's creator would be once it is committed.
pub fn entry(position: i64, (room, content): Event, at: Timestamp) -> Entry {
    let (room_id, creator) = (RoomId(Uuid::from_u128(room as u128)), person(room, 0));
    let number = Number::try_from(position).expect("a number");
    let message = Message {
        room_id,
        number,
        id: MessageId(Uuid::from_u128(u128::from(position.unsigned_abs()))),
        from_user: creator,
        side: Side::Creator,
        content,
        step: None,
        attachment: None,
        switched_to: None,
        at,
        selected_campaign_id: None,
        contract_version: Version::ZERO,
        fingerprint: Fingerprint::default(),
    };
    let (given_name, family_name, logo_url) = ("Ada".to_owned(), "Low".to_owned(), String::new());
    let author = Profile { id: creator, given_name, family_name, logo_url, company: None, present: true };
    let news = News::NewMessage { message: Box::new(message), author, contract: None };
    let kind = EntryKind::Told { room_id, creator_id: creator, company_id: company(room), news: Box::new(news) };
    Entry { position, at, kind }
}
