//! Bytes that are no request, or hardly one, on the server's own connections.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::iter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{AT_ONCE, NASTY};
use crate::dice::Dice;
use crate::harness::{Node, is_full, tell};

/// Connections in the short form, and in the full one.
const CONNECTIONS: (usize, usize) = (1_500, 50_000);
/// How long the end of a connection is waited for: less than the server waits for the rest of a head.
const PATIENCE: Duration = Duration::from_secs(5);
/// How connections begin, right and wrong.
const BEGINNINGS: [&[u8]; 24] = [
    b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /livez HTTP/1.0\r\n\r\n",
    b"GET /livez\r\n\r\n",
    b"GET http://a/livez HTTP/1.1\r\nHost: b\r\n\r\n",
    b"GET //a@b:99999/ HTTP/1.1\r\nHost: [::\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
    b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n",
    b"TRACE / HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\n\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nhello\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n-1\r\n\r\n",
    b"POST /v1/rooms HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /livez HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
    b"GET /livez HTTP/1.1\nHost: a\n\n",
    b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n",
    b"GET /v1/events HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, close\r\n\r\n",
    b"GET /livez HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x86\x41\x8a\0\0\x04\x08\0\0\0\0\x01\xff\xff\xff\xff",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\xff\xff\xff\x00\x01\0\0\0\x01",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
];

/// Each connection is answered in HTTP below 500, or closed; nothing panics, and the server is there in the end.
///
/// To see it red: `assert` in `first_bytes` in `src/http/server/connection.rs` that what it has read is ASCII.
#[tokio::test(flavor = "multi_thread")]
async fn no_bytes_make_the_server_panic() {
    let data = tempfile::tempdir().expect("a folder");
    let node = Node::start(&format!("sqlite://{}", data.path().join("haggle.sqlite3").display())).await;
    let address = node.url.strip_prefix("http://").expect("an address");
    let mut dice = Dice::seeded(10);
    let all = if is_full() { CONNECTIONS.1 } else { CONNECTIONS.0 };
    let spoilt = (0..all).map(|_| spoil(&mut dice));
    let mut answers = iter(spoilt).map(|pieces| talk(address, pieces)).buffer_unordered(AT_ONCE);
    let (mut http, mut closed, mut waiting) = (0, 0, 0);
    while let Some((said, answer, ended)) = answers.next().await {
        let text = String::from_utf8_lossy(&answer);
        let status = text.strip_prefix("HTTP/1.").and_then(|text| text.get(2..5)?.parse::<u16>().ok());
        assert!(status.is_none_or(|status| status < 500), "{text}\nto\n{}", String::from_utf8_lossy(&said));
        match status {
            Some(_) => http += 1,
            // Frames of HTTP/2 are no text.
            None if ended => closed += 1,
            None => waiting += 1,
        }
    }
    drop(answers);
    assert!(!node.log().contains("panic"), "{}", node.log());
    let cast = node.cast().await;
    cast.ada.open_room(cast.north, "still there").await;
    let found = format!("{http} answered, {closed} closed, {waiting} still waited for the rest; 0 by 500, 0 panics");
    tell("10", &format!("{all} connections with odd bytes (seed 10)"), found);
    assert!(http > all / 10 && closed > all / 50, "they are not spoilt well: {http}, {closed}");
}

/// One to three beginnings, spoilt, cut into pieces as they may come over the network.
fn spoil(dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut bytes: Vec<u8> = (0..=dice.roll(3)).flat_map(|_| dice.pick(&BEGINNINGS).to_vec()).collect();
    for _ in 0..dice.roll(4) {
        let at = dice.roll(bytes.len());
        let until = at + dice.roll((bytes.len() - at).min(40));
        match dice.roll(7) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => drop(bytes.splice(at..until, dice.pick(&NASTY).iter().copied())),
            2 => drop(bytes.splice(at..at, bytes[at..until].repeat(1 + dice.roll(400)))),
            3 => drop(
                bytes.splice(at..at, (0..dice.roll(64)).map(|_| dice.roll(256).to_le_bytes()[0]).collect::<Vec<_>>()),
            ),
            4 => drop(bytes.splice(at..at, vec![*dice.pick(b"aX: \r\n\0"); dice.roll(20_000)])),
            _ => drop(bytes.drain(at..until)),
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let rest = bytes.split_off(if dice.roll(3) == 0 { (1 + dice.roll(40)).min(bytes.len()) } else { bytes.len() });
        pieces.push(std::mem::replace(&mut bytes, rest));
    }
    pieces
}

/// Says the pieces and then no more; what was said, what came back, and whether the connection was closed.
async fn talk(address: &str, pieces: Vec<Vec<u8>>) -> (Vec<u8>, Vec<u8>, bool) {
    let said = pieces.concat();
    let mut connection = TcpStream::connect(address).await.expect("the server listens");
    connection.set_nodelay(true).expect("a socket");
    for piece in pieces {
        // A server that has refused may close before it has heard everything.
        if connection.write_all(&piece).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    let _ = connection.shutdown().await;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match timeout(PATIENCE, connection.read(&mut buffer)).await {
            Ok(Ok(read @ 1..)) => answer.extend_from_slice(&buffer[..read]),
            Ok(_) => return (said, answer, true),
            Err(_) => return (said, answer, false),
        }
    }
}
