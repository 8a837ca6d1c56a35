// @ts-check
/**
 * What one person sees, as a pure function: `reduce(state, action) → state`. Snapshots and events may come in any
 * order and more than once: message numbers are dense and marks only move forward, so whatever is older changes
 * nothing.
 */

/** @typedef {import("./api.d.ts").Message} Message */
/** @typedef {import("./api.d.ts").MessageWithSender} MessageWithSender */
/** @typedef {import("./api.d.ts").UserInfo} UserInfo */
/** @typedef {import("./api.d.ts").Company} Company */
/** @typedef {import("./api.d.ts").Contract} Contract */
/** @typedef {import("./api.d.ts").ContractChangeInput} ContractChangeInput */
/** @typedef {import("./api.d.ts").StreamEvent} StreamEvent */
/** @typedef {import("./api.d.ts").Side} Side */

/**
 * A message on its way.
 * @typedef {object} Pending
 * @property {string} key  its `message_id`
 * @property {string} content
 * @property {ContractChangeInput} [change]
 * @property {string} [campaign]
 * @property {{ id: string, name: string, size: number, type: string, preview?: string }} [file]
 * @property {number} [progress]  of the upload, 0 to 1
 * @property {string} at
 * @property {"sending" | "waiting" | "sent" | "failed"} stage  `waiting`: for the network; `sent`: for the stream
 * @property {string} [why]
 */

/**
 * @typedef {object} RoomState
 * @property {string} id
 * @property {Company} company
 * @property {string} creator
 * @property {string[]} members  those that are listed, the caller left out
 * @property {string} [campaign]  the selected one
 * @property {Record<string, Contract>} contracts  by campaign
 * @property {Message} last
 * @property {Record<string, number>} seen  how far, by user
 * @property {Message[]} messages  without holes, oldest first
 * @property {boolean} older  whether there are messages before these
 * @property {boolean} loaded  whether `messages` reaches to `last`
 * @property {Pending[]} pending
 * @property {string} [notice]  what to tell about a change that was refused
 * @property {boolean} [gone]  not there any more: kept for what could not be sent
 */

/**
 * @typedef {object} State
 * @property {string} me
 * @property {boolean} ready  whether the rooms are there
 * @property {import("./haggle.js").StreamState} link
 * @property {boolean} [resumed]  whether the open connection went on where the last one ended, once that is known
 * @property {string} [refused]  why this person is not let in
 * @property {Record<string, RoomState>} rooms
 * @property {string[]} order  the rooms, newest message first
 * @property {Record<string, UserInfo>} users
 * @property {Record<string, string[]>} typing  who, by room
 * @property {string} [open]  the room that is shown
 */

/**
 * @typedef {{ type: "link", link: State["link"] }
 *   | { type: "refused", why: string }
 *   | { type: "rooms", rooms: import("./api.d.ts").Room[] }
 *   | { type: "room", room: import("./api.d.ts").DetailedRoom }
 *   | { type: "older", room: import("./api.d.ts").DetailedRoom }
 *   | { type: "event", event: StreamEvent }
 *   | { type: "open", room?: string }
 *   | { type: "seen", room: string, till: number }
 *   | { type: "sending", room: string, pending: Pending }
 *   | { type: "progress", room: string, key: string, change: Partial<Pending> }
 *   | { type: "sent", room: string, key: string, number: number }
 *   | { type: "dropped", room: string, key: string }
 *   | { type: "notice", room: string, notice?: string }
 *   | { type: "contract", room: string, contract: Contract }} Action
 */

/** @param {string} me @returns {State} */
export const begin = (me) => ({ me, ready: false, link: "connecting", rooms: {}, order: [], users: {}, typing: {} });

/** @param {State} state @param {Action} action @returns {State} */
export function reduce(state, action) {
  switch (action.type) {
    case "link":
      return { ...state, link: action.link, resumed: action.link === "open" ? state.resumed : undefined };
    case "refused": return { ...state, refused: action.why, link: "closed" };
    case "rooms": return withRooms(state, action.rooms);
    case "room": return withRoom(state, action.room);
    case "older": return withOlder(state, action.room);
    case "event": return withEvent(state, action.event);
    case "open": return { ...state, open: action.room };
    case "seen": return inRoom(state, action.room, (room) => see(room, state.me, action.till));
    case "sending": return inRoom(state, action.room, (room) => {
      const others = room.pending.filter((it) => it.key !== action.pending.key);
      return { ...room, pending: [...others, action.pending] };
    });
    case "progress": return inRoom(state, action.room, (room) => {
      const pending = room.pending.map((it) => it.key === action.key ? { ...it, ...action.change } : it);
      return { ...room, pending };
    });
    // What was sent stays as it is shown until the stream brings it.
    case "sent": return inRoom(state, action.room, (room) => {
      if (action.number <= room.last.id && room.loaded) return without(room, action.key);
      const pending = room.pending.map((it) => it.key === action.key ? { ...it, stage: /** @type {const} */ ("sent") } : it);
      return { ...room, pending };
    });
    case "dropped": return inRoom(state, action.room, (room) => without(room, action.key));
    case "notice": return inRoom(state, action.room, (room) => ({ ...room, notice: action.notice }));
    case "contract": return inRoom(state, action.room, (room) => withContract(room, action.contract));
  }
}

/** @param {State} state @param {string} id @param {(room: RoomState) => RoomState} change @returns {State} */
function inRoom(state, id, change) {
  const room = state.rooms[id];
  if (!room) return state;
  const changed = change(room);
  return changed === room ? state : { ...state, rooms: { ...state.rooms, [id]: changed } };
}

/** With a room first if there is something new in it. @param {State} before @param {State} after @param {string} id @returns {State} */
function raised(before, after, id) {
  const [was, is] = [before.rooms[id]?.last.id ?? 0, after.rooms[id]?.last.id ?? 0];
  return is > was ? { ...after, order: [id, ...after.order.filter((it) => it !== id)] } : after;
}

/** @param {RoomState} room @param {string} key @returns {RoomState} */
const without = (room, key) => ({ ...room, pending: room.pending.filter((it) => it.key !== key) });

/** @param {RoomState} room @param {string} user @param {number} till @returns {RoomState} */
function see(room, user, till) {
  return (room.seen[user] ?? 0) >= till ? room : { ...room, seen: { ...room.seen, [user]: till } };
}

/** @param {RoomState} room @param {Contract | undefined} contract @returns {RoomState} */
function withContract(room, contract) {
  const known = contract && room.contracts[contract.campaign_id];
  if (!contract || (known && known.version >= contract.version)) return room;
  return { ...room, contracts: { ...room.contracts, [contract.campaign_id]: contract } };
}

/** @param {State["users"]} users @param {UserInfo[]} known */
function knowing(users, known) {
  return { ...users, ...Object.fromEntries(known.map((user) => [user.id, user])) };
}

/** The rooms there are: of those known before, what was loaded stays in view until it is loaded again.
 * @param {State} state @param {import("./api.d.ts").Room[]} list @returns {State} */
function withRooms(state, list) {
  const users = knowing(state.users, list.flatMap((room) => room.users));
  /** @type {State["rooms"]} */
  const rooms = {};
  /** Where more has come than the list knows of. @type {Set<string>} */
  const ahead = new Set();
  for (const room of list) {
    const known = state.rooms[room.id];
    const last = known && known.last.id > room.last_message.id ? known.last : room.last_message;
    if (last !== room.last_message) ahead.add(room.id);
    const contract = room.contract;
    const fresh = {
      ...(known ?? { seen: {}, messages: [], older: true, loaded: false, pending: [], contracts: {} }),
      id: room.id, company: room.company, creator: room.creator_id, members: room.users.map((user) => user.id),
      campaign: last === room.last_message ? room.selected_campaign_id : known?.campaign, last,
      loaded: known?.loaded === true && known.messages.at(-1)?.id === last.id, gone: false,
    };
    rooms[room.id] = withContract(see(fresh, state.me, room.last_message.id - room.new_messages), contract);
  }
  // What somebody wrote does not vanish without a word.
  for (const room of Object.values(state.rooms)) {
    const unsent = room.pending.some((it) => it.stage !== "sent") || room.notice !== undefined;
    if (!rooms[room.id] && unsent) rooms[room.id] = { ...room, gone: true };
  }
  const open = state.open && rooms[state.open] ? state.open : undefined;
  const order = [...new Set([...state.order.filter((id) => ahead.has(id)), ...list.map((room) => room.id), ...Object.keys(rooms)])];
  return { ...state, rooms, order, users, open, ready: true };
}

/** @param {State} state @param {import("./api.d.ts").DetailedRoom} page @returns {State} */
function withRoom(state, page) {
  const users = knowing(state.users, page.users);
  return raised(state, inRoom({ ...state, users }, page.id, (known) => {
    const [first, last] = [page.messages[0], page.messages.at(-1)];
    const end = known.messages.at(-1)?.id ?? 0;
    const joins = first && known.messages.length > 0 && first.id <= end + 1;
    const before = joins ? known.messages.filter((it) => it.id < first.id) : [];
    const after = joins || end > (last?.id ?? 0) ? known.messages.filter((it) => it.id > (last?.id ?? 0)) : [];
    const messages = [...before, ...page.messages, ...after];
    const newest = messages.at(-1) ?? known.last;
    const arrived = new Set(messages.map((it) => it.message_id));
    /** @type {RoomState} */
    let room = {
      ...known, messages, older: before.length > 0 ? known.older : page.has_more,
      members: page.users.map((user) => user.id).filter((id) => id !== state.me),
      last: newest.id >= known.last.id ? newest : known.last, loaded: newest.id >= known.last.id,
      campaign: (last?.id ?? 0) >= known.last.id ? page.selected_campaign_id : known.campaign,
      pending: known.pending.filter((it) => !arrived.has(it.key)),
    };
    for (const contract of page.contracts) room = withContract(room, contract);
    for (const { user_id, seen_till } of page.last_seen) room = see(room, user_id, seen_till);
    return see(room, state.me, (last?.id ?? 0) - page.new_messages);
  }), page.id);
}

/** @param {State} state @param {import("./api.d.ts").DetailedRoom} page @returns {State} */
function withOlder(state, page) {
  const users = { ...knowing({}, page.users), ...state.users };
  return inRoom({ ...state, users }, page.id, (room) => {
    const last = page.messages.at(-1);
    if (!last || last.id + 1 !== room.messages[0]?.id) return room;
    return { ...room, messages: [...page.messages, ...room.messages], older: page.has_more };
  });
}

/** @param {State} state @param {StreamEvent} event @returns {State} */
function withEvent(state, event) {
  switch (event.type) {
    case "hello": return { ...state, resumed: event.resumed };
    case "room_created_with_you": return withNewRoom(state, event);
    case "new_message": return withMessage(state, event);
    case "new_last_view":
      return inRoom(state, event.room_id, (room) => see(room, event.user_id, event.message_id));
    case "presence": return withPresence(state, event);
    case "activity_change": {
      const user = state.users[event.user_id];
      if (!user) return state;
      return { ...state, users: { ...state.users, [user.id]: { ...user, status: event.activity_state } } };
    }
    case "typing_change": {
      const others = (state.typing[event.room_id] ?? []).filter((id) => id !== event.user_id);
      const now = event.currently_typing ? [...others, event.user_id] : others;
      return { ...state, typing: { ...state.typing, [event.room_id]: now } };
    }
    default: return state;
  }
}

/** @param {State} state @param {Extract<StreamEvent, { type: "room_created_with_you" }>} event @returns {State} */
function withNewRoom(state, event) {
  if (state.rooms[event.room_id]) return state;
  const { from_user, ...rest } = event.message;
  const last = { ...rest, from_user: from_user.id };
  /** @type {RoomState} */
  const room = {
    id: event.room_id, company: event.company, creator: event.creator_id, campaign: event.selected_campaign_id,
    members: event.users.map((user) => user.id).filter((id) => id !== state.me), contracts: {}, last,
    seen: { [from_user.id]: 1 }, messages: [last], older: false, loaded: true, pending: [],
  };
  const rooms = { ...state.rooms, [room.id]: withContract(room, event.contract) };
  return raised(state, { ...state, rooms, users: knowing(state.users, event.users) }, room.id);
}

/** @param {State} state @param {Extract<StreamEvent, { type: "new_message" }>} event @returns {State} */
function withMessage(state, { room_id, message, contract }) {
  const { from_user, ...rest } = message;
  const flat = { ...rest, from_user: from_user.id };
  const typing = (state.typing[room_id] ?? []).filter((id) => id !== from_user.id);
  const users = state.users[from_user.id] ? state.users : knowing(state.users, [from_user]);
  return raised(state, inRoom({ ...state, users, typing: { ...state.typing, [room_id]: typing } }, room_id, (known) => {
    const room = see(withContract(without(known, message.message_id), contract), from_user.id, message.id);
    if (message.id <= room.last.id) return room;
    const proposed = message.contract_change?.type === "proposed_by_company" && message.contract_change.campaign_id;
    const next = {
      ...room, last: flat, campaign: message.change_selected_campaign_to ?? (proposed || room.campaign),
      members: from_user.id === state.me || room.members.includes(from_user.id) ? room.members
        : [...room.members, from_user.id],
    };
    const follows = room.loaded && room.messages.at(-1)?.id === message.id - 1;
    return follows ? { ...next, messages: [...room.messages, flat] } : { ...next, loaded: false };
  }), room_id);
}

/** @param {State} state @param {Extract<StreamEvent, { type: "presence" }>} event @returns {State} */
function withPresence(state, { online, away, typing }) {
  const [here, near] = [new Set(online), new Set(away)];
  const users = Object.fromEntries(Object.values(state.users).map((user) => {
    const status = here.has(user.id) ? "online" : near.has(user.id) ? "away" : "offline";
    return [user.id, /** @type {UserInfo} */ ({ ...user, status })];
  }));
  /** @type {State["typing"]} */
  const now = {};
  for (const { room_id, user_id } of typing) now[room_id] = [...(now[room_id] ?? []), user_id];
  return { ...state, users, typing: now };
}

/** Newest message first, as the server has it: several may be of one moment, and clocks may differ. @param {State} state @returns {RoomState[]} */
export const inOrder = (state) => state.order.map((id) => state.rooms[id]);

/** How many messages of a room were not seen. @param {State} state @param {RoomState} room */
export const unread = (state, room) => Math.max(0, room.last.id - (room.seen[state.me] ?? 0));

/** @param {State} state */
export const unreadTotal = (state) => Object.values(state.rooms).reduce((sum, room) => sum + unread(state, room), 0);

/** @param {State} state @param {RoomState} room @returns {Side} */
export const sideOf = (state, room) => room.creator === state.me ? "creator" : "company";

/** The contract about the selected campaign. @param {RoomState} room */
export const contractOf = (room) => room.campaign ? room.contracts[room.campaign] : undefined;

/** Whether a change of a contract is on its way: the next one waits for it. @param {RoomState} room */
export const changing = (room) => room.pending.some((it) => it.change && it.stage !== "failed");

/** @type {Record<ContractChangeInput["type"], Contract["state"]>} */
const LEADS_TO = {
  proposed_by_company: "proposed", accepted_by_creator: "accepted", withdrawn_by_company: "withdrawn",
  cancelled_by_creator: "cancelled", finished_by_creator: "finished", approved_by_company: "approved",
};

/** Whether one's own earlier click, perhaps in another tab, did already what a change was to do.
 * @param {ContractChangeInput} change @param {Contract} now @param {string} me */
export function doneAlready(change, now, me) {
  const same = change.type !== "proposed_by_company" || change.payout === now.payout;
  return now.changed_by === me && now.state === LEADS_TO[change.type] && same;
}

/** Those of the other side who have seen a message. @param {State} state @param {RoomState} room @param {number} id */
export function seenBy(state, room, id) {
  const other = sideOf(state, room) === "creator"
    ? room.members.filter((user) => user !== room.creator && state.users[user]?.company?.id === room.company.id)
    : [room.creator];
  return other.filter((user) => (room.seen[user] ?? 0) >= id);
}

/** @typedef {"propose" | "revise" | "withdraw" | "accept" | "decline" | "cancel" | "finish" | "approve"} Move */

/** What a side may do, by the contract's state; what is meant to come next is first.
 * @param {Contract | undefined} contract @param {Side} side @returns {Move[]} */
export function moves(contract, side) {
  const state = contract?.state;
  if (side === "company") {
    if (state === "proposed") return ["revise", "withdraw"];
    if (state === "finished") return ["approve"];
    return state === "accepted" || state === "approved" ? [] : ["propose"];
  }
  if (state === "proposed") return ["accept", "decline"];
  return state === "accepted" ? ["finish", "cancel"] : [];
}

/** A move as the API wants it, guarded by what is seen.
 * @param {Exclude<Move, "propose" | "revise">} move @param {Contract} contract @returns {ContractChangeInput} */
export function changeFor(move, contract) {
  const expected_version = contract.version;
  switch (move) {
    case "accept": return { type: "accepted_by_creator", expected_version, expected_payout: contract.payout };
    case "withdraw": return { type: "withdrawn_by_company", expected_version };
    case "decline":
    case "cancel": return { type: "cancelled_by_creator", expected_version };
    case "finish": return { type: "finished_by_creator", expected_version };
    case "approve": return { type: "approved_by_company", expected_version };
  }
}
