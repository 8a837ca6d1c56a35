// What is said to people.
import assert from "node:assert/strict";
import test from "node:test";
import { expiryOf, newKey } from "../../web/haggle.js";
import { cents, day, fileName, hue, initials, list, lostRace, money, refusal, size } from "../../web/words.js";

test("money is written as people write it", () => {
  assert.equal(money(125_000, "EUR", "en"), "€1,250");
  assert.equal(money(125_050, "EUR", "en"), "€1,250.50");
  assert.equal(money(0, "USD", "en"), "$0");
});

test("amounts are read as people write them, and nothing is guessed", () => {
  const right = { "1250": 125_000, "1,250": 125_000, "1.250": 125_000, "1,250.50": 125_050, "1.250,5": 125_050, "€ 1 250": 125_000,
    "1'250": 125_000, "0": 0, "12.5": 1_250, "1,250,000": 125_000_000, "9.99": 999 };
  for (const [text, amount] of Object.entries(right)) assert.equal(cents(text), amount, text);
  for (const text of ["", "abc", "-5", "1250.", ".5", "1.2500", "1,2,5", "99999999999999999"]) assert.equal(cents(text), undefined, text);
});

test("whoever lost a race is told what happened, in plain words", () => {
  const contract = (state, more) => ({ campaign_id: "c", state, payout: 140_000, version: 3, changed_by: "x", changed_in: 3, ...more });
  const told = (attempt, state, more) => lostRace(attempt, contract(state, more), "Ada Okafor", "€1,400");
  assert.equal(told("withdrawn_by_company", "accepted"), "Ada Okafor accepted €1,400 a moment before you withdrew. The deal stands.");
  assert.match(told("accepted_by_creator", "proposed"), /^The terms changed to €1,400 .* Look again/);
  assert.match(told("accepted_by_creator", "withdrawn"), /withdrew the proposal a moment before you accepted/);
  assert.match(told("proposed_by_company", "cancelled", { declined: true }), /declined/);
  for (const state of ["proposed", "accepted", "withdrawn", "cancelled", "finished", "approved"]) assert.ok(told("approved_by_company", state));
});

test("every refusal has words", () => {
  assert.equal(refusal(undefined), "Something went wrong. Please try again.");
  assert.equal(refusal({ code: "brand_new", detail: "As the server says." }), "As the server says.");
});

test("names, lists, sizes and days", () => {
  assert.deepEqual(["Ada Okafor", "Northwind", "  ", "Łukasz van der Żak", "😀 b"].map(initials), ["AO", "N", "?", "ŁŻ", "😀B"]);
  assert.deepEqual([[], ["a"], ["a", "b"], ["a", "b", "c"]].map(list), ["", "a", "a and b", "a, b and c"]);
  assert.deepEqual([999, 1_000, 999_499, 999_500, 26_214_400].map(size), ["999 B", "1 kB", "999 kB", "1.0 MB", "26.2 MB"]);
  const now = new Date(2026, 2, 1, 0, 30);
  assert.deepEqual([[2026, 2, 1], [2026, 1, 28], [2026, 1, 3], [2025, 1, 3]].map(([y, m, d]) => day(new Date(y, m, d, 23).toISOString(), now, "en")),
    ["Today", "Yesterday", "Tuesday, February 3", "Monday, February 3, 2025"]);
  assert.ok(new Set(["Ada Okafor", "Ben Osei", "Nora Lind", "Kofi Mensah"].map(hue)).size === 4);
});

test("files are named as the server takes them", () => {
  const names = { "brief.pdf": "brief.pdf", "a/b\\\\c.txt": "a-b--c.txt", "x\u202egnp.exe": "xgnp.exe", "\0\u200f": "file", "..": "file", "": "file", " a ": "a" };
  for (const [name, taken] of Object.entries(names)) assert.equal(fileName(name), taken, name);
  const long = fileName(`${"ä".repeat(300)}.jpeg`);
  assert.ok(Buffer.byteLength(long) <= 255 && Buffer.byteLength(long) > 252 && long.endsWith("ä.jpeg"));
});

test("keys are UUIDs of version 7, each its own", () => {
  const before = Date.now();
  const keys = Array.from({ length: 1_000 }, newKey);
  for (const key of keys) assert.match(key, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.equal(new Set(keys).size, 1_000);
  const at = Number.parseInt(keys[0].replaceAll("-", "").slice(0, 12), 16);
  assert.ok(at >= before && at <= Date.now());
});

test("a token says when it ends", () => {
  const token = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.x`;
  assert.equal(expiryOf(token({ sub: "ÿ~~~", exp: 5 })), 5_000);
  for (const other of [token({}), "opaque", "", "a.b.c"]) assert.equal(expiryOf(other), Infinity);
});
