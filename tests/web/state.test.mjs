// What one person sees, from snapshots and events in whatever order they come.
import assert from "node:assert/strict";
import test from "node:test";
import { begin, changeFor, changing, contractOf, doneAlready, inOrder, moves, reduce, seenBy, unread, unreadTotal } from "../../web/state.js";

const company = { id: "north", name: "Northwind", logo_url: "" };
const person = (id, status = "offline", of = undefined) =>
  ({ id, given_name: id, family_name: "X", logo_url: "", status, ...(of && { company: of }) });
const [ada, nora, ben] = [person("ada"), person("nora", "offline", company), person("ben", "offline", company)];
const contract = (state, version, more = {}) =>
  ({ campaign_id: "spring", state, payout: 100_000, version, changed_by: "nora", changed_in: version, ...more });
const message = (id, from, more = {}) => ({
  id, message_id: `m${id}`, content: `text ${id}`, timestamp: `2026-01-01T00:00:${String(id).padStart(2, "0")}Z`,
  side: from === "ada" ? "creator" : "company", from_user: from, ...more,
});
const sender = { ada, nora, ben };
const news = (id, from, more = {}, contract = undefined) => ({
  type: "event", event: { type: "new_message", room_id: "r", contract, message: { ...message(id, from, more), from_user: sender[from] } },
});
const listed = (last, new_messages, more = {}) => ({
  type: "rooms", rooms: [{ id: "r", users: [nora, ben], users_total: 2, company, creator_id: "ada", last_message: last, new_messages, ...more }],
});
const paged = (ids, more = {}) => ({
  type: "room", room: {
    id: "r", users: [ada, nora, ben], users_total: 3, company, creator_id: "ada", messages: ids.map((id) => message(id, id % 2 ? "ada" : "nora")),
    has_more: false, new_messages: 0, last_seen: [], contracts: [], position: "e-1", ...more,
  },
});
const after = (...actions) => actions.reduce(reduce, begin("ada"));
const ids = (state) => state.rooms.r.messages.map((it) => it.id);

test("a list, a page and the events after them", () => {
  const state = after(listed(message(2, "nora"), 1), { type: "open", room: "r" }, paged([1, 2]), news(3, "nora"), news(4, "ada"));
  assert.deepEqual(ids(state), [1, 2, 3, 4]);
  assert.equal(unreadTotal(state), 0, "what I write I have seen");
});

test("events that the snapshot holds change nothing", () => {
  const before = after(listed(message(3, "nora"), 2), paged([1, 2, 3], { new_messages: 2 }));
  const state = [news(2, "nora"), news(3, "nora")].reduce(reduce, before);
  assert.deepEqual(ids(state), [1, 2, 3]);
  assert.equal(unread(state, state.rooms.r), 2);
});

test("a hole is never shown as if there were none", () => {
  const state = after(listed(message(2, "nora"), 0), paged([1, 2]), news(4, "nora"));
  assert.deepEqual(ids(state), [1, 2]);
  assert.equal(state.rooms.r.loaded, false, "it has to be loaded again");
  const mended = reduce(state, paged([1, 2, 3, 4]));
  assert.deepEqual([ids(mended), mended.rooms.r.loaded], [[1, 2, 3, 4], true]);
});

test("a page that comes late keeps what came meanwhile", () => {
  const state = after(listed(message(2, "nora"), 0), paged([1, 2]), news(3, "nora"), paged([1, 2]));
  assert.deepEqual(ids(state), [1, 2, 3]);
  assert.equal(state.rooms.r.last.id, 3);
});

test("a page that does not touch what is there takes its place", () => {
  const state = after(listed(message(2, "nora"), 0), paged([1, 2]), listed(message(9, "nora"), 0), paged([7, 8, 9], { has_more: true }));
  assert.deepEqual([ids(state), state.rooms.r.older], [[7, 8, 9], true]);
});

test("older messages join at the front, and only there", () => {
  const state = after(listed(message(6, "nora"), 0), paged([5, 6], { has_more: true }));
  const older = (ids, has_more) => ({ ...paged(ids, { has_more }), type: "older" });
  assert.deepEqual(ids(reduce(state, older([3, 4], true))), [3, 4, 5, 6]);
  assert.deepEqual(ids(reduce(state, older([1, 2], false))), [5, 6]);
});

test("a room that is opened with me is there once", () => {
  const event = { type: "room_created_with_you", room_id: "r", message: { ...message(1, "nora"), from_user: nora }, users: [ada, nora, ben], company, creator_id: "ada" };
  const state = after({ type: "rooms", rooms: [] }, { type: "event", event }, { type: "event", event });
  assert.deepEqual([Object.keys(state.rooms), ids(state), unreadTotal(state)], [["r"], [1], 1]);
  assert.deepEqual(state.rooms.r.members, ["nora", "ben"]);
});

test("my message is shown at once, and once only when it arrives", () => {
  const pending = { key: "m3", content: "text 3", at: "2026-01-01T00:00:03Z", stage: "sending" };
  let state = after(listed(message(2, "nora"), 0), paged([1, 2]), { type: "sending", room: "r", pending });
  assert.equal(state.rooms.r.pending.length, 1);
  const sent = { type: "sent", room: "r", key: "m3", number: 3 };
  assert.equal(reduce(state, sent).rooms.r.pending[0].stage, "sent", "it stays until the stream brings it");
  state = [news(3, "ada"), sent].reduce(reduce, state);
  assert.deepEqual([ids(state), state.rooms.r.pending], [[1, 2, 3], []]);
  const fetched = [paged([1, 2, 3])].reduce(reduce, after(listed(message(2, "nora"), 0), { type: "sending", room: "r", pending }));
  assert.deepEqual(fetched.rooms.r.pending, [], "or until it is fetched");
});

test("contracts and marks only move forward", () => {
  const proposed = { contract_change: { type: "proposed_by_company", campaign_id: "spring", payout: 100_000 } };
  let state = after(listed(message(2, "nora"), 0), paged([1, 2]), news(3, "nora", proposed, contract("proposed", 3)));
  assert.equal(state.rooms.r.campaign, "spring", "a proposal selects its campaign");
  state = reduce(state, news(4, "ada", {}, contract("accepted", 4)));
  state = reduce(state, { type: "contract", room: "r", contract: contract("proposed", 3) });
  assert.equal(contractOf(state.rooms.r).state, "accepted");
  const view = (message_id) => ({ type: "event", event: { type: "new_last_view", room_id: "r", user_id: "nora", message_id } });
  state = [view(4), view(2)].reduce(reduce, state);
  assert.deepEqual(seenBy(state, state.rooms.r, 4), ["nora"]);
  assert.deepEqual(seenBy(state, state.rooms.r, 5), []);
});

test("a switch of the campaign shows the contract of that campaign", () => {
  let state = after(listed(message(1, "nora"), 0, { selected_campaign_id: "spring", contract: contract("accepted", 2) }));
  state = reduce(state, news(2, "nora", { change_selected_campaign_to: "autumn" }));
  assert.equal(contractOf(state.rooms.r), undefined);
  state = reduce(state, news(3, "nora", { change_selected_campaign_to: "spring" }, contract("accepted", 2)));
  assert.equal(contractOf(state.rooms.r).state, "accepted");
});

test("presence says who is there, and forgets the others", () => {
  const presence = (online, away, typing) => ({ type: "event", event: { type: "presence", online, away, typing } });
  let state = after(listed(message(1, "nora"), 0), presence(["nora"], ["ben"], [{ room_id: "r", user_id: "nora" }]));
  assert.deepEqual([state.users.nora.status, state.users.ben.status, state.typing.r], ["online", "away", ["nora"]]);
  assert.deepEqual(reduce(state, news(2, "nora")).typing.r, [], "a message ends its author's typing");
  state = reduce(state, presence([], [], []));
  assert.deepEqual([state.users.nora.status, state.users.ben.status, state.typing], ["offline", "offline", {}]);
});

test("rooms are shown as the server has them, and what is new comes first", () => {
  const other = (id) => ({ id: "s", users: [], users_total: 0, company, creator_id: "ada", last_message: message(id, "ada"), new_messages: 0 });
  const order = (state) => inOrder(state).map((room) => room.id);
  // Of one moment, or by clocks that differ: the list's order counts.
  const both = after({ type: "rooms", rooms: [...listed(message(1, "nora"), 0).rooms, other(1)] });
  assert.deepEqual(order(both), ["r", "s"]);
  const turned = after({ type: "rooms", rooms: [other(9), ...listed(message(1, "nora"), 0).rooms] }, news(2, "nora"));
  assert.deepEqual(order(turned), ["r", "s"], "by an event");
  assert.deepEqual(order(reduce(turned, { type: "rooms", rooms: [other(9), ...listed(message(1, "nora"), 0).rooms] })), ["r", "s"], "a list that is late");
  assert.deepEqual(order(reduce(turned, { type: "rooms", rooms: [other(10), ...listed(message(2, "nora"), 0).rooms] })), ["s", "r"]);
  assert.deepEqual(order(after({ type: "rooms", rooms: [other(9), ...listed(message(1, "nora"), 0).rooms] }, paged([1, 2]))), ["r", "s"], "by a page");
  assert.deepEqual(order(reduce(both, listed(message(1, "nora"), 0))), ["r"], "those that are gone go");
});

/** The table of the API, turned to what each side may do. */
test("each side has the buttons of the contract's state, guarded", () => {
  const table = {
    none: [["propose"], []], proposed: [["revise", "withdraw"], ["accept", "decline"]], accepted: [[], ["finish", "cancel"]],
    finished: [["approve"], []], approved: [[], []], withdrawn: [["propose"], []], cancelled: [["propose"], []],
  };
  for (const [state, [ofCompany, ofCreator]] of Object.entries(table)) {
    const now = state === "none" ? undefined : contract(state, 3);
    assert.deepEqual([moves(now, "company"), moves(now, "creator")], [ofCompany, ofCreator], state);
    for (const move of [...ofCompany, ...ofCreator].filter((it) => it !== "propose" && it !== "revise")) {
      assert.equal(changeFor(move, now).expected_version, 3);
    }
  }
  assert.deepEqual(changeFor("accept", contract("proposed", 2)), { type: "accepted_by_creator", expected_version: 2, expected_payout: 100_000 });
});

const sending = (key, more = {}) => ({ type: "sending", room: "r", pending: { key, content: "", at: "2026-01-01T00:00:09Z", stage: "sending", ...more } });

test("one change of a contract is on its way at a time", () => {
  const change = { type: "accepted_by_creator", expected_version: 1 };
  const before = after(listed(message(2, "nora"), 0, { selected_campaign_id: "spring", contract: contract("proposed", 1) }), paged([1, 2], { selected_campaign_id: "spring" }));
  const is = (state) => changing(state.rooms.r);
  assert.equal(is([sending("m9", { content: "words" })].reduce(reduce, before)), false);
  const sent = [sending("m3", { change })].reduce(reduce, before);
  assert.equal(is(sent), true);
  assert.equal(is(reduce(sent, { type: "progress", room: "r", key: "m3", change: { stage: "waiting" } })), true);
  assert.equal(is(reduce(sent, { type: "progress", room: "r", key: "m3", change: { stage: "failed" } })), false);
  const answered = reduce(sent, { type: "sent", room: "r", key: "m3", number: 3 });
  assert.equal(is(answered), true, "until the contract that is shown has moved");
  const moved = reduce(answered, news(3, "ada", { contract_change: change }, contract("accepted", 2)));
  assert.deepEqual([is(moved), contractOf(moved.rooms.r).state], [false, "accepted"]);
});

test("what oneself did already is no lost race", () => {
  const accept = { type: "accepted_by_creator" };
  assert.equal(doneAlready(accept, contract("accepted", 2, { changed_by: "ada" }), "ada"), true);
  assert.equal(doneAlready(accept, contract("accepted", 2, { changed_by: "ben" }), "ada"), false);
  assert.equal(doneAlready({ type: "cancelled_by_creator" }, contract("accepted", 2, { changed_by: "ada" }), "ada"), false, "the deal stands");
  const propose = (payout) => ({ type: "proposed_by_company", campaign_id: "spring", payout });
  assert.deepEqual([100_000, 90_000].map((it) => doneAlready(propose(it), contract("proposed", 2), "nora")), [true, false]);
});

test("what could not be sent stays when its room is gone", () => {
  const before = after(listed(message(2, "nora"), 0), paged([1, 2]), { type: "open", room: "r" });
  const gone = { type: "rooms", rooms: [] };
  const failed = { type: "progress", room: "r", key: "m3", change: { stage: "failed", why: "not open" } };
  assert.deepEqual(reduce(before, gone).rooms, {});
  for (const order of [[gone, failed], [failed, gone]]) {
    const state = [sending("m3", { content: "words" }), ...order].reduce(reduce, before);
    assert.deepEqual([state.open, state.rooms.r.gone, state.rooms.r.pending.map((it) => [it.stage, it.content, it.why])],
      ["r", true, [["failed", "words", "not open"]]]);
    assert.equal(reduce(state, listed(message(2, "nora"), 0)).rooms.r.gone, false);
  }
  assert.equal([{ type: "notice", room: "r", notice: "not open" }, gone].reduce(reduce, before).rooms.r.notice, "not open");
});

test("whether a connection went on where the last one ended is known from its hello", () => {
  const link = (link) => ({ type: "link", link });
  const hello = (resumed) => ({ type: "event", event: { type: "hello", resumed } });
  const states = [link("open"), hello(true), link("waiting"), link("connecting"), link("open"), hello(false)];
  let state = begin("ada");
  assert.deepEqual(states.map((it) => { state = reduce(state, it); return state.resumed; }),
    [undefined, true, undefined, undefined, undefined, false]);
});
