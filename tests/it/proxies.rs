//! Behind reverse proxies, as the README configures them and as they come: events at once, quiet streams, files, who
//! asks, HTTP/2, and a restart. `HAGGLE_TORTURE=full` is quiet for ten minutes, against the packages' own limits.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use haggle::config::Config;
use reqwest::Method;
use uuid::Uuid;

use crate::attachments::{MIB, attached, streamed, upload};
use crate::cli::Running;
use crate::harness::proxy::{Client, Kind, Proxy, Setup};
use crate::harness::{
    Actor, Cast, Database, EventStream, Node, Relay, Server, eventually, free_port, haggle, id, is_full,
};
use crate::readme::{blocks, section};
use crate::uploads::Form;

macro_rules! behind_every_proxy {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread")]
            async fn on_nginx() {
                if super::Kind::Nginx.is_here() {
                    super::$name(super::Kind::Nginx).await;
                }
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn on_haproxy() {
                if super::Kind::Haproxy.is_here() {
                    super::$name(super::Kind::Haproxy).await;
                }
            }
        }
    )+};
}

behind_every_proxy!(
    events_arrive_at_once,
    a_quiet_stream_stays,
    a_reader_who_leaves_is_noticed,
    a_page_opens_its_stream,
    files_pass_as_they_come,
    the_server_says_what_is_too_large,
    connections_to_the_server_are_used_again,
    tabs_share_a_connection,
    only_a_trusted_proxy_says_who_asks,
    a_trusted_proxy_may_open_any_number_of_connections,
    readers_come_back_after_a_restart,
);

/// The README's sample.
fn documented(kind: Kind) -> Setup {
    let sample = blocks(section("Operation")).into_iter().find(|(language, _)| *language == kind.name());
    Setup::Documented(sample.expect("a sample").1)
}

fn setups(kind: Kind) -> [Setup; 2] {
    [Setup::Bare, documented(kind)]
}

fn trusting(config: &mut Config) {
    config.trusted_proxies = vec![IpAddr::from([127, 0, 0, 1]).into()];
}

fn port(url: &str) -> u16 {
    url.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
}

/// A server with a room of Northwind and Ada.
struct Stage {
    server: Server,
    cast: Cast,
    room: Uuid,
}

impl Stage {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        let server = Server::start_with(&Database::Sqlite, change).await;
        let cast = server.cast().await;
        let room = cast.ada.open_room(cast.north, "Hi").await;
        Self { server, cast, room }
    }

    async fn behind(&self, kind: Kind, setup: Setup) -> Proxy {
        Proxy::start(kind, setup, port(&self.server.url)).await
    }
}

/// A stream of one who takes this encoding.
async fn stream_in(who: &Actor, encoding: &str) -> EventStream {
    who.run_stream(who.request(Method::GET, "/v1/events").header("Accept-Encoding", encoding)).await
}

/// Each event is read before the next is sent: what held events back until more have come would hold them for ever, or
/// until the next heartbeat.
async fn events_arrive_at_once(kind: Kind) {
    let stage = Stage::new(trusting).await;
    for setup in setups(kind) {
        let proxy = stage.behind(kind, setup).await;
        for (http1, encoding) in [(true, "identity"), (true, "gzip"), (false, "identity"), (false, "gzip")] {
            let client = Client { http1, ..Client::default() };
            let (nora, ada) = (proxy.before_as(&stage.cast.nora, client), proxy.before_as(&stage.cast.ada, client));
            let mut stream = stream_in(&nora, encoding).await;
            // nginx by itself compresses pages only, and HAProxy heeds that streams are not to be transformed.
            let zips = setup != Setup::Bare && kind == Kind::Nginx;
            assert_eq!(stream.zipped, zips && encoding == "gzip", "{setup:?}, HTTP/1: {http1}");
            let mut heartbeats = 0;
            for round in 0..20 {
                let said = format!("round {round}");
                ada.say(stage.room, &said).await;
                let heard = loop {
                    let event = stream.next().await;
                    match event.name.as_str() {
                        "heartbeat" => heartbeats += 1,
                        "new_message" => break event.data,
                        _ => {}
                    }
                };
                assert_eq!(heard["message"]["content"], said);
            }
            assert!(heartbeats < 10, "events waited for heartbeats");
        }
    }
}

/// Short: nothing but heartbeats for longer than the proxy suffers silence, which is a little longer than one
/// heartbeat's time. Full: ten minutes, and the proxy as it comes.
async fn a_quiet_stream_stays(kind: Kind) {
    let full = is_full();
    let (idle, quiet) = if full { (None, 600) } else { (Some(Duration::from_secs(20)), 45) };
    let stage = Stage::new(trusting).await;
    let (mut proxies, mut streams) = (Vec::new(), Vec::new());
    for setup in setups(kind) {
        let proxy = Proxy::start_with(kind, setup, port(&stage.server.url), idle).await;
        for (http1, encoding) in [(true, "identity"), (true, "gzip"), (false, "gzip")] {
            let nora = proxy.before_as(&stage.cast.nora, Client { http1, ..Client::default() });
            streams.push(stream_in(&nora, encoding).await);
        }
        proxies.push(proxy);
    }
    let until = Instant::now() + Duration::from_secs(quiet);
    join_all(streams.iter_mut().map(|stream| stay(stream, until))).await;
    stage.cast.ada.say(stage.room, "still there?").await;
    for stream in &mut streams {
        assert_eq!(stream.next_news().await.data["message"]["content"], "still there?");
    }
    eprintln!("{}: {} streams were quiet for {quiet} s", kind.name(), streams.len());
}

async fn stay(stream: &mut EventStream, until: Instant) {
    while Instant::now() < until {
        let event = stream.next_within(Duration::from_mins(1)).await.expect("the stream stays");
        assert!(["heartbeat", "presence", "activity_change"].contains(&event.name.as_str()), "{event:?}");
    }
}

/// At once, as configured: `HAProxy` by itself notices only when it has something to pass on.
async fn a_reader_who_leaves_is_noticed(kind: Kind) {
    let stage = Stage::new(trusting).await;
    let proxy = stage.behind(kind, documented(kind)).await;
    for http1 in [true, false] {
        let nora = proxy.before_as(&stage.cast.nora, Client { http1, ..Client::default() });
        let mut stream = nora.stream().await;
        assert_eq!(stage.server.app.hub.streams(), 1);
        // The next is 15 s away.
        while stream.next_within(Duration::from_mins(1)).await.expect("it goes on").name != "heartbeat" {}
        drop(stream);
        let left = Instant::now();
        eventually("the stream is gone", async || stage.server.app.hub.streams() == 0).await;
        assert!(left.elapsed() < Duration::from_secs(14), "with a heartbeat, after {:?}", left.elapsed());
    }
}

/// What a browser sends: a cookie instead of a token, and where the page is from, which is what the proxy is called.
async fn a_page_opens_its_stream(kind: Kind) {
    let public = "https://chat.example.com";
    let stage = Stage::new(|config| config.public_url = Some(public.to_owned())).await;
    for setup in setups(kind) {
        let proxy = stage.behind(kind, setup).await;
        let nora = proxy.before(&stage.cast.nora);
        let begun = nora.run(nora.request(Method::POST, "/v1/events/session").header("Origin", public)).await;
        let cookie = begun.header("set-cookie").to_owned();
        assert!(begun.status == 204 && cookie.contains("; Secure"), "{begun:?}");
        let cookie = cookie.split(';').next().expect("a pair").to_owned();
        let mut page = nora.clone();
        page.token = None;
        let open =
            |origin: &str| page.request(Method::GET, "/v1/events").header("Cookie", &cookie).header("Origin", origin);
        assert_eq!(page.run_stream(open(public)).await.hello.data["user_id"], page.id().to_string());
        page.run(open("https://elsewhere.example")).await.refused(403, "origin_not_allowed");
    }
}

async fn files_pass_as_they_come(kind: Kind) {
    let stage = Stage::new(trusting).await;
    let proxy = stage.behind(kind, documented(kind)).await;
    for (http1, file) in [(true, id(1)), (false, id(2))] {
        let ada = proxy.before_as(&stage.cast.ada, Client { http1, ..Client::default() });
        upload(&ada, file, "film.mp4", streamed(25 * MIB)).await.expect(201);
        ada.message(stage.room, &attached(file)).await.expect(201);
        let room = ada.room(stage.room).await;
        let link = room["messages"].as_array().and_then(|them| them.last()).expect("it")["attachment"]["link"].clone();
        let link = link.as_str().expect("a link");
        assert_eq!(ada.get(link).await.bytes.len(), 25 * MIB);
        let part = ada.run(ada.request(Method::GET, link).header("Range", "bytes=1000-1999")).await;
        assert_eq!((part.status, part.bytes.len()), (206, 1000));
        assert_eq!(part.header("content-range"), format!("bytes 1000-1999/{}", 25 * MIB));
        let form = Form::new().text("message", r#"{"content":""}"#).file("a", &vec![b'x'; 25 * MIB]);
        form.post(&ada, &format!("/v1/rooms/{}/messages", stage.room), None).await.expect(201);
    }
}

/// A proxy that first reads the whole body would wait for the end of this one for ever.
fn endless() -> reqwest::Body {
    let pieces = stream::iter((0..26).map(|_| Ok::<_, std::io::Error>(vec![b'x'; MIB])));
    reqwest::Body::wrap_stream(pieces.chain(stream::pending()))
}

async fn the_server_says_what_is_too_large(kind: Kind) {
    let stage = Stage::new(trusting).await;
    let proxy = stage.behind(kind, documented(kind)).await;
    for http1 in [true, false] {
        let ada = proxy.before_as(&stage.cast.ada, Client { http1, ..Client::default() });
        upload(&ada, id(1), "a", vec![b'x'; 25 * MIB + 1]).await.refused(413, "too_large");
        upload(&ada, id(1), "a", streamed(60 * MIB)).await.refused(413, "too_large");
        let answered = tokio::time::timeout(Duration::from_mins(1), upload(&ada, id(1), "a", endless())).await;
        answered.expect("an answer before the end").refused(413, "too_large");
    }
}

async fn connections_to_the_server_are_used_again(kind: Kind) {
    let stage = Stage::new(trusting).await;
    let relay = Relay::to(port(&stage.server.url)).await;
    let proxy = Proxy::start(kind, documented(kind), relay.port).await;
    let ada = proxy.before(&stage.cast.ada);
    for _ in 0..100 {
        ada.rooms().await;
    }
    // HAProxy also asks whether the server is ready, each second.
    assert!(relay.made() < 50, "{} connections", relay.made());
}

async fn tabs_share_a_connection(kind: Kind) {
    let stage = Stage::new(trusting).await;
    let proxy = stage.behind(kind, documented(kind)).await;
    let relay = Relay::to(proxy.port).await;
    let nora = proxy.before(&stage.cast.nora).at_url(&proxy.url_at(relay.port));
    let mut tabs = Vec::new();
    for _ in 0..10 {
        tabs.push(nora.stream().await);
    }
    nora.say(stage.room, "to all tabs").await;
    for tab in &mut tabs {
        assert_eq!(tab.next_news().await.data["message"]["content"], "to all tabs");
    }
    assert_eq!(relay.made(), 1);
}

/// A node of its own process, whose log can be read.
async fn node(folder: &tempfile::TempDir, settings: &[(&str, &str)]) -> Node {
    let file = folder.path().join("haggle.sqlite3");
    Node::start_with(&format!("sqlite://{}", file.display()), settings).await
}

async fn only_a_trusted_proxy_says_who_asks(kind: Kind) {
    let (forged, client) = ("192.0.2.66", "127.0.0.2");
    for (trusted, setup, taken_for) in [
        ("127.0.0.1", documented(kind), client),
        ("127.0.0.9", documented(kind), "127.0.0.1"),
        ("127.0.0.9", Setup::Bare, "127.0.0.1"),
        // As the README warns.
        ("127.0.0.1", Setup::Bare, forged),
    ] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let node = node(&folder, &[("HAGGLE_TRUSTED_PROXIES", trusted)]).await;
        let proxy = Proxy::start(kind, setup, port(&node.url)).await;
        let address = Some(client.parse().expect("an address"));
        let service = proxy.before_as(&node.service(), Client { address, ..Client::default() });
        // Nobody else asks for what is not there.
        service.run(service.request(Method::GET, "/v1/nothing").header("X-Forwarded-For", forged)).await;
        let asked = || node.log().lines().find(|line| line.contains("route=\"none\"")).map(str::to_owned);
        eventually("it is logged", async || asked().is_some()).await;
        let asked = asked().unwrap_or_default();
        assert!(asked.contains(&format!("client=\"{taken_for}\"")), "{trusted} is trusted: {asked}");
    }
}

async fn a_trusted_proxy_may_open_any_number_of_connections(kind: Kind) {
    for trusted in [true, false] {
        let stage = Stage::new(|config| {
            config.max_connections_per_address = 3;
            if trusted {
                trusting(config);
            }
        })
        .await;
        let proxy = stage.behind(kind, Setup::Bare).await;
        let nora = proxy.before(&stage.cast.nora);
        let mut answers = Vec::new();
        for _ in 0..5 {
            answers.push(nora.request(Method::GET, "/v1/events").send().await);
        }
        // nginx answers 502 for a connection that is refused; HAProxy may close in turn.
        let streams = answers.iter().flatten().filter(|answer| answer.status() == 200).count();
        let refused = 5 - streams;
        assert_eq!(refused > 0, !trusted, "{refused} of 5");
    }
}

async fn readers_come_back_after_a_restart(kind: Kind) {
    for setup in setups(kind) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let port = free_port();
        let listen = format!("127.0.0.1:{port}");
        let settings = [("HAGGLE_LISTEN", listen.as_str()), ("HAGGLE_TRUSTED_PROXIES", "127.0.0.1")];
        let mut first = node(&folder, &settings).await;
        let cast = first.cast().await;
        let proxy = Proxy::start(kind, setup, port).await;
        let ada = proxy.before(&cast.ada);
        let status = async || ada.get("/readyz").await.status;
        eventually("it is there", async || status().await == 200).await;
        let room = ada.open_room(cast.north, "before").await;
        let mut tail = haggle(&["tail", "--quiet", "--url", &proxy.url()]);
        tail.env("HAGGLE_TOKEN", cast.nora.token.as_deref().expect("a token"));
        tail.envs(proxy.authority().map(|file| ("SSL_CERT_FILE", file)));
        let mut tail = Running::start(tail);
        tail.until("hello");
        first.terminate();
        tail.until("shutting_down");
        assert!([502, 503].contains(&status().await));
        let _second = node(&folder, &settings).await;
        eventually("it is back", async || status().await == 200).await;
        ada.say(room, "after").await;
        tail.until("\"after\"");
        assert!(tail.read.contains("\"resumed\":true"), "{}", tail.read);
    }
}
