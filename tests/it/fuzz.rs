//! Whole requests, spoilt at random: no input makes a 500 or a panic (promise 10). Below are forms, bytes that are no
//! request, and archives of backups; parsers by themselves are asked beside their code, by `proptest`.

mod archives;
mod forms;
mod heads;

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt;
use futures_util::stream::iter;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::dice::Dice;
use crate::harness::{Database, Server, id, is_full, tell};

/// Requests in the short form, and in the full one.
const REQUESTS: (usize, usize) = (2_000, 200_000);
/// How many are asked at once.
const AT_ONCE: usize = 24;
/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_millis(300);
/// What parsers trip over.
const NASTY: [&[u8]; 18] = [
    b"\r\n",
    b"\0",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"--boundary",
    b"--boundary--",
    b"%",
    b"%00",
    b"%ff",
    b"\"",
    b"{}",
    b"[[[[[[[[",
    b"null",
    b"-1",
    b"18446744073709551616",
    b"1e999",
    b"\\ud800",
    b"..%2f",
];

/// Each answer is below 500 and, where it refuses, a problem with a code; or the connection is closed, for what is no
/// HTTP. The server is there in the end, and nothing has panicked.
///
/// To see it red: `expect` a header's text in `src/http/extract.rs`, or a file name in `src/http/submission.rs`.
async fn no_spoilt_request_makes_a_500(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let file = json!({"content": "Here", "attachment": {"name": "brief.txt", "content": STANDARD.encode("brief"), "content_type": "text/plain"}});
    let sent = cast.ada.message(room, &file).await;
    assert_eq!(sent.status, 201);
    let history = cast.ada.room(room).await;
    let link = history["messages"][1]["attachment"]["link"].as_str().expect("a link").to_owned();
    let service = format!("Authorization: Bearer {}", cast.service.token.as_deref().expect("a token"));
    let ada = format!("Authorization: Bearer {}", cast.ada.token.as_deref().expect("a token"));
    let change = json!({"content": "", "contract_change": {"type": "accepted_by_creator", "expected_version": 1}, "selected_campaign_id": id(0xca)});
    let people = json!({"operations": [{"type": "put_company", "id": id(0xc9), "name": "N", "logo_url": ""}]});
    let form = "--boundary\r\nContent-Disposition: form-data; name=\"message\"\r\n\r\n{\"content\":\"form\"}\r\n\
                --boundary\r\nContent-Disposition: form-data; name=\"attachment\"; filename=\"a.txt\"\r\n\
                Content-Type: text/plain\r\n\r\nbytes\r\n--boundary--\r\n";
    let sending = format!("POST /v1/rooms/{room}/messages");
    let key = "Idempotency-Key: 0199c0de-0000-7000-8000-0000000f0001";
    let cookie = "Cookie: haggle-session=v1.0.0.0";
    let range = "Range: bytes=1-2,4-";
    let cursor = "Last-Event-ID: 0011223344556677-1";
    let is_json = "Content-Type: application/json";
    let is_form = "Content-Type: multipart/form-data; boundary=boundary";
    let seeds: Vec<Vec<u8>> = [
        (sending.as_str(), &[&ada, key, is_json][..], file.to_string()),
        (&sending, &[&ada, is_json], change.to_string()),
        (&sending, &[&ada, is_form], form.to_owned()),
        ("PUT /v1/attachments/0199c0de-0000-7000-8000-0000000f0002?name=b.png", &[&ada], "bytes".to_owned()),
        (&format!("GET {link}"), &[range], String::new()),
        ("GET /v1/rooms?limit=2&before=MTIz", &[&ada], String::new()),
        (&format!("GET /v1/rooms/{room}?message_qty=2&message_before=2"), &[&ada], String::new()),
        (&format!("PUT /v1/rooms/{room}/last-seen"), &[&ada, is_json], json!({"seen_till": 1}).to_string()),
        ("GET /v1/events?after=0011223344556677-1&user_id=x", &[cookie, cursor], String::new()),
        ("POST /v1/events/session", &[&ada, "Origin: http://localhost"], String::new()),
        ("POST /v1/directory/batch", &[&service, is_json], people.to_string()),
    ]
    .map(|(line, headers, body)| request(line, headers, &body))
    .into();
    let address = server.url.strip_prefix("http://").expect("an address");
    let mut dice = Dice::seeded(61);
    let (mut below_400, mut refused) = (0, 0);
    let requests = if is_full() { REQUESTS.1 } else { REQUESTS.0 };
    let spoilt = (0..requests).map(|_| spoil(dice.pick(&seeds).clone(), &mut dice));
    let mut answers = iter(spoilt).map(|spoilt| ask(address, spoilt)).buffer_unordered(AT_ONCE);
    while let Some((spoilt, answer)) = answers.next().await {
        let answer = String::from_utf8_lossy(&answer);
        let Some(status) = answer.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok()) else { continue };
        assert!(status < 500, "{answer}\nto\n{}", String::from_utf8_lossy(&spoilt));
        if status < 400 {
            below_400 += 1;
        } else {
            refused += 1;
            let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
            let is_problem =
                head.to_ascii_lowercase().contains("application/problem+json") && body.contains("\"code\"");
            // What is no HTTP never reaches us: hyper answers without a body.
            assert!(is_problem || body.is_empty(), "{answer}\nto\n{}", String::from_utf8_lossy(&spoilt));
        }
    }
    drop(answers);
    assert!(below_400 > 50 && refused > 500, "the requests are not spoilt well: {below_400}, {refused}");
    let found = format!("{below_400} answered, {refused} refused, 0 by 500");
    tell("10", &format!("{requests} spoilt requests (seed 61)"), found);
    cast.ada.say(room, "still there").await;
}

on_every_database!(no_spoilt_request_makes_a_500);

fn request(line: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let (headers, length) = ([&["Host: localhost", "Connection: close"], headers].concat().join("\r\n"), body.len());
    format!("{line} HTTP/1.1\r\n{headers}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// Changes a request in one to three places. The length of the body is told anew, so that the body is read.
fn spoil(mut bytes: Vec<u8>, dice: &mut Dice) -> Vec<u8> {
    for _ in 0..=dice.roll(3) {
        // What a line or a body holds matters more than what the many bytes of a token are.
        let line = bytes.iter().position(|byte| *byte == b'\r').unwrap_or(0);
        let body = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(0);
        let (from, to) = *dice.pick(&[(body, bytes.len()), (body, bytes.len()), (0, line), (line, bytes.len())]);
        let at = from + dice.roll((to - from).max(1));
        let until = at + dice.roll((bytes.len() - at).min(24));
        match dice.roll(5) {
            0 => bytes[at] ^= 1 << dice.roll(8),
            1 => drop(bytes.drain(at..until)),
            2 => drop(bytes.splice(at..until, dice.pick(&NASTY).iter().copied())),
            3 => {
                let again = bytes[at..until].repeat(1 + dice.roll(30));
                bytes.splice(at..at, again);
            }
            _ => drop(bytes.splice(at..at, dice.pick(&NASTY).iter().copied())),
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    let end = b"\r\n\r\n";
    let Some(head) = bytes.windows(end.len()).position(|window| window == end) else { return bytes };
    let length = bytes.len() - head - end.len();
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let Some(at) = text.find("Content-Length: ").filter(|_| text.is_char_boundary(head) && text.len() == head) else {
        return bytes;
    };
    let value = at + "Content-Length: ".len();
    let until = text[value..].find('\r').map_or(head, |end| value + end);
    bytes.splice(value..until, length.to_string().bytes());
    bytes
}

/// The request, and what is answered until the connection closes, or until a stream begins.
async fn ask(address: &str, request: Vec<u8>) -> (Vec<u8>, Vec<u8>) {
    let mut connection = TcpStream::connect(address).await.expect("the server listens");
    // A server that has refused may close before it has read everything.
    let _ = connection.write_all(&request).await;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    // What looks unfinished is waited for by the server, longer than by us.
    while let Ok(Ok(read @ 1..)) = timeout(PATIENCE, connection.read(&mut buffer)).await {
        answer.extend_from_slice(&buffer[..read]);
        if answer.windows(17).any(|window| window.eq_ignore_ascii_case(b"text/event-stream")) {
            break;
        }
    }
    (request, answer)
}
