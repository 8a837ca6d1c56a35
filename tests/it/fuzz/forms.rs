//! Forms (RFC 7578) in every spelling that programs use, and spoilt ones.

use futures_util::stream::iter;
use reqwest::{Body, Method};
use serde_json::json;
use uuid::Uuid;

use super::NASTY;
use crate::dice::Dice;
use crate::harness::{Actor, Answer, Database, Server, is_full, tell};

/// Forms in the short form, and in the full one; half of them are spoilt.
const FORMS: (usize, usize) = (300, 5_000);
/// Every character that a boundary may have (RFC 2046 §5.1.1), but the blank.
const BOUNDARY: &[u8] = b"abcXYZ0189'()+_,-./:=?";
/// Names that mean the same in every spelling.
const NAMES: [&str; 8] =
    ["a.txt", "a b.txt", "\u{fc}ber.txt", "\u{1f600}.png", "a;b=c.txt", "name=message", "--boundary", "x'y.tar.gz"];

/// A form as it was meant.
struct Form {
    boundary: String,
    content: String,
    name: &'static str,
    bytes: Vec<u8>,
}

/// What a form says is what is stored, however it is spelled and cut on its way; a spoilt one is stored or refused.
///
/// To see it red: `expect` the name of a part in `read_form` in `src/http/submission.rs`; or end `read_part` there after
/// the first chunk.
async fn forms_are_read_as_they_are_meant(database: Database) {
    let server = Server::start(&database).await;
    let cast = server.cast().await;
    let room = cast.ada.open_room(cast.north, "Hi").await;
    let mut dice = Dice::seeded(78);
    let (mut taken, mut refused) = (0, 0);
    let forms = if is_full() { FORMS.1 } else { FORMS.0 };
    for n in 0..forms {
        let form = Form::any(&mut dice);
        let (kind, mut body) = (form.kind(&mut dice), form.body(&mut dice));
        if n % 2 == 0 {
            let number = post(&cast.ada, room, &kind, body, &mut dice).await.expect(201)["id"].clone();
            check(&cast.ada, room, number.as_u64().expect("a number"), &form).await;
            continue;
        }
        for _ in 0..=dice.roll(3) {
            spoil(&mut body, &mut dice);
        }
        let kind = if dice.roll(8) == 0 { spoil_kind(&kind, &mut dice) } else { kind };
        let answer = post(&cast.ada, room, &kind, body, &mut dice).await;
        assert!(answer.status < 500, "form {n}: {}", answer.body);
        if answer.status == 201 { taken += 1 } else { refused += 1 }
    }
    let found = format!("{} read as they were meant; of the spoilt ones {taken} taken, {refused} refused", forms / 2);
    tell("10", &format!("{forms} forms (seed 78)"), found);
    assert!(refused > forms / 8, "they are not spoilt well: {refused}");
}

on_every_database!(forms_are_read_as_they_are_meant);

impl Form {
    fn any(dice: &mut Dice) -> Self {
        let length = 1 + dice.roll(70);
        let boundary = (0..length).map(|_| char::from(*dice.pick(BOUNDARY))).collect::<String>();
        let content = format!("\u{e9}\r\n--{boundary}-- {}", dice.roll(1_000));
        let mut bytes: Vec<u8> = (0..dice.roll(3_000)).map(|_| dice.roll(256).to_le_bytes()[0]).collect();
        // What looks like the end, but for its last character.
        for _ in 0..dice.roll(3) {
            let near = format!("\r\n--{}", &boundary[..boundary.len() - 1]);
            let at = dice.roll(bytes.len() + 1);
            bytes.splice(at..at, near.into_bytes());
        }
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        if bytes.windows(delimiter.len()).any(|window| window == delimiter) {
            bytes.clear();
        }
        Self { boundary, content, name: *dice.pick(&NAMES), bytes }
    }

    /// The header `Content-Type`.
    fn kind(&self, dice: &mut Dice) -> String {
        let boundary = &self.boundary;
        let spellings = [
            format!("multipart/form-data; boundary=\"{boundary}\""),
            format!("Multipart/Form-Data;boundary=\"{boundary}\""),
            format!("multipart/form-data; charset=utf-8; boundary=\"{boundary}\""),
        ];
        dice.pick(&spellings).clone()
    }

    fn body(&self, dice: &mut Dice) -> Vec<u8> {
        let message = json!({"content": self.content}).to_string();
        let (name, boundary) = (self.name, &self.boundary);
        let heads = [
            "Content-Disposition: form-data; name=\"message\"",
            "content-disposition:form-data;name=\"message\"\r\nContent-Type: application/json",
            "CONTENT-TYPE: application/json; charset=utf-8\r\nCONTENT-DISPOSITION: form-data; name=\"message\"",
        ];
        let message = [dice.pick(&heads).as_bytes(), b"\r\n\r\n", message.as_bytes()].concat();
        let file = format!("form-data; name=\"attachment\"; filename=\"{name}\"");
        let heads = [
            format!("Content-Disposition: {file}\r\nContent-Type: text/plain"),
            format!("Content-Type: application/octet-stream\r\ncontent-disposition:{file}"),
            format!("Content-Disposition: {file}\r\nContent-Transfer-Encoding: binary\r\nX-Any: thing"),
            format!("Content-Disposition: form-data; filename=\"{name}\"; name=\"attachment\""),
        ];
        let file = [dice.pick(&heads).as_bytes(), b"\r\n\r\n", &self.bytes].concat();
        let parts = if dice.roll(2) == 0 { [message, file] } else { [file, message] };
        let mut body = Vec::new();
        for part in parts {
            body.extend([format!("--{boundary}\r\n").as_bytes(), &part, b"\r\n"].concat());
        }
        body.extend(format!("--{boundary}--").into_bytes());
        body.extend_from_slice(dice.pick(&["", "\r\n", "\r\nan epilogue"]).as_bytes());
        body
    }
}

async fn post(who: &Actor, room: Uuid, kind: &str, body: Vec<u8>, dice: &mut Dice) -> Answer {
    let body = if dice.roll(2) == 0 { Body::from(body) } else { pieces(&body, dice) };
    let request = who.request(Method::POST, &format!("/v1/rooms/{room}/messages")).header("Content-Type", kind);
    who.run(request.body(body)).await
}

/// The body as it may come over the network, without a length.
fn pieces(mut body: &[u8], dice: &mut Dice) -> Body {
    let mut pieces = Vec::new();
    while !body.is_empty() {
        let (piece, rest) = body.split_at((1 + dice.roll(200)).min(body.len()));
        pieces.push(Ok::<_, std::io::Error>(piece.to_vec()));
        body = rest;
    }
    Body::wrap_stream(iter(pieces))
}

async fn check(who: &Actor, room: Uuid, number: u64, form: &Form) {
    let page = format!("/v1/rooms/{room}?message_qty=1&message_before={}", number + 1);
    let message = who.get(&page).await.expect(200)["messages"][0].clone();
    assert_eq!((&message["id"], &message["content"]), (&json!(number), &json!(form.content)));
    assert_eq!(message["attachment"]["name"], form.name);
    let link = message["attachment"]["link"].as_str().expect("a link");
    let file = who.http.get(format!("{}{link}", who.url)).send().await.expect("an answer");
    assert_eq!(file.status(), 200);
    assert!(file.bytes().await.expect("its bytes") == form.bytes, "{} bytes came back changed", form.bytes.len());
}

/// Changes a body most often where its parts begin, since its bytes are anybody's.
fn spoil(body: &mut Vec<u8>, dice: &mut Dice) {
    let lines: Vec<usize> = (0..body.len()).filter(|at| body[*at] == b'\n').collect();
    let from = if dice.roll(4) > 0 && !lines.is_empty() { *dice.pick(&lines) } else { 0 };
    let at = (from + dice.roll(30)).min(body.len());
    let until = (at + dice.roll(24)).min(body.len());
    match dice.roll(6) {
        0 => drop(body.drain(at..until)),
        1 => drop(body.splice(at..until, dice.pick(&NASTY).iter().copied())),
        2 => body.truncate(at),
        3 => drop(body.splice(at..at, body[..until].to_vec())),
        4 => drop(body.splice(at..at, vec![*dice.pick(b"\r\n\";:= x"); dice.roll(70_000)])),
        _ => {
            let more = *b"\r\nContent-Disposition: form-data; name=\"message\"; filename*=utf-8''%00%ff";
            body.splice(at..at, more);
        }
    }
}

fn spoil_kind(kind: &str, dice: &mut Dice) -> String {
    let others = [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"",
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=a",
    ];
    match dice.roll(3) {
        0 => kind.replace('"', ""),
        1 => format!("{kind}{}", "x".repeat(dice.roll(4_000))),
        _ => (*dice.pick(&others)).to_owned(),
    }
}
