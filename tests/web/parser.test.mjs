// Server-sent events are read as WHATWG HTML §9.2.6 says, wherever the network cuts them.
import assert from "node:assert/strict";
import test from "node:test";
import { EventParser } from "../../web/haggle.js";

/** What is heard when bytes come in these pieces. */
function read(...chunks) {
  const heard = [];
  const parser = new EventParser((name, data, id) => heard.push([name, data, id]));
  for (const chunk of chunks) parser.push(typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk);
  return { heard, retry: parser.retry, id: parser.lastEventId };
}

test("an event has a name, data and an id", () => {
  const { heard } = read("event: hello\nid: e-7\ndata: {\"a\":1}\n\n");
  assert.deepEqual(heard, [["hello", "{\"a\":1}", "e-7"]]);
});

test("lines end with LF, CR or CRLF, mixed", () => {
  const { heard } = read("data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\rdata: e\n\n");
  assert.deepEqual(heard.map((it) => it[1]), ["a\nb\nc", "d", "e"]);
});

test("every cut of the bytes gives the same events", () => {
  const bytes = new TextEncoder().encode("\ufeffretry: 1500\r\nevent: x\r\ndata: ä€😀\r\ndata:  two\r\nid: 9\r\n\r\n: hi\r\n\rdata:z\r\r\n");
  const whole = read(bytes);
  assert.deepEqual(whole.heard, [["x", "ä€😀\n two", "9"], ["message", "z", "9"]]);
  for (let first = 0; first <= bytes.length; first += 1) {
    for (let second = first; second <= bytes.length; second += 1) {
      const cut = read(bytes.slice(0, first), bytes.slice(first, second), bytes.slice(second));
      assert.deepEqual(cut, whole, `cut at ${first} and ${second}`);
    }
  }
});

test("a byte order mark is skipped once, at the beginning", () => {
  assert.deepEqual(read("\ufeffdata: a\n\n").heard.map((it) => it[1]), ["a"]);
  assert.deepEqual(read("data: a\n\n\ufeffdata: b\n\n").heard.map((it) => it[1]), ["a"]);
});

test("comments and unknown fields say nothing", () => {
  assert.deepEqual(read(": a comment\nfoo: bar\nfoo\n\ndata: a\n\n").heard, [["message", "a", ""]]);
});

test("one space after the colon is left out, a field without colon is empty", () => {
  assert.deepEqual(read("data:a\n\ndata:  b\n\ndata\n\ndata\ndata\n\n").heard.map((it) => it[1]), ["a", " b", "", "\n"]);
});

test("an event without data is none, but its id counts and its name does not linger", () => {
  const { heard } = read("event: lost\nid: 5\n\ndata: a\n\n");
  assert.deepEqual(heard, [["message", "a", "5"]]);
});

test("an id lasts until another comes, may be emptied, and holds no NUL", () => {
  const { heard } = read("id: 1\ndata: a\n\ndata: b\n\nid: x\0y\ndata: c\n\nid\ndata: d\n\n");
  assert.deepEqual(heard.map((it) => it[2]), ["1", "1", "1", ""]);
});

test("retry is digits only", () => {
  assert.equal(read("retry: 250\nretry: 1s\nretry: -5\nretry:\n\n").retry, 250);
});

test("what has not ended when the stream ends is left out", () => {
  assert.deepEqual(read("data: a\n\ndata: b\n").heard.map((it) => it[1]), ["a"]);
});
