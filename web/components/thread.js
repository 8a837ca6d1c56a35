// @ts-check
/** One conversation: who it is with, the deal, the messages, and where to write. */

import { h, icon, keyed, setText, show } from "../dom.js";
import { changeFor, changing, contractOf, moves, seenBy, sideOf } from "../state.js";
import { day, fullName, list, money } from "../words.js";
import { avatar } from "./avatar.js";
import { composer } from "./composer.js";
import { dealBar } from "./deal.js";
import { messageRow } from "./message.js";
import { counterpart, typists } from "./rooms.js";

/** @typedef {import("../state.js").RoomState} RoomState */
/** @typedef {import("../state.js").State} State */
/** @typedef {import("./message.js").MessageView} MessageView */
/** @typedef {{ kind: "day", key: string, text: string } | { kind: "message", key: string, view: MessageView }} Item */

/** Messages of one author closer than this are shown as one group, in ms. */
const TOGETHER = 5 * 60_000;
/** How near its end the conversation counts as read to the end, in px. */
const NEAR = 48;

/**
 * @param {import("../person.js").Person} person
 * @param {import("./deal.js").Campaign[]} campaigns
 * @param {string} name  of the person
 * @param {() => void} back
 */
export function thread(person, campaigns, name, back) {
  const face = avatar();
  const [title, subtitle] = [h("h2", {}), h("p", { class: "subtitle" })];
  const current = () => person.state.open ? person.state.rooms[person.state.open] : undefined;
  const act = (/** @type {import("../state.js").Move} */ move) => {
    const room = current();
    const contract = room && contractOf(room);
    if (!room) return;
    if (move === "propose" || move === "revise") return box.propose();
    if (contract) person.send(room.id, { content: "", change: changeFor(move, contract) });
  };
  const deal = dealBar(person, campaigns, {
    act, select: (campaign) => current() && person.send(current()?.id ?? "", { content: "", campaign }),
  });
  const messages = h("ol", { class: "messages" });
  const olderNote = h("div", { class: "older", "aria-hidden": "true" }, h("span", { class: "spinner" }));
  const typing = h("div", { class: "typing-line", "aria-live": "off" },
    h("span", { class: "typing-dots" }, h("i"), h("i"), h("i")), h("span", {}));
  const scroller = h("div", { class: "scroller", tabindex: 0, role: "log", "aria-label": "Messages",
    onscroll: () => scrolled() }, olderNote, messages, typing);
  const newer = h("button", { type: "button", class: "newer", "aria-label": "Go to the newest message",
    onclick: () => toEnd(true) }, icon("down"), h("span", {}));
  const notice = h("div", { class: "notice", role: "alert", hidden: true }, icon("warn"), h("p", {}),
    h("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: () => {
      if (person.state.open) person.dispatch({ type: "notice", room: person.state.open });
    } }, icon("close")));
  const box = composer(person, campaigns);
  const body = h("div", { class: "thread-body" },
    h("header", { class: "thread-head" },
      h("button", { type: "button", class: "icon-button back", "aria-label": "Back to conversations", onclick: back },
        icon("back")),
      face.element, h("div", { class: "thread-title" }, title, subtitle)),
    deal.element,
    h("div", { class: "scroll-frame" }, scroller, newer),
    notice, box.element);
  const nothing = h("div", { class: "nothing" }, icon("chat"), h("p", { text: "Pick a conversation" }),
    h("p", { class: "quiet", text: "or start a new one." }));
  const element = h("section", { class: "thread", "aria-label": `Conversation of ${name}` }, nothing, body);
  box.dropZone(element);

  const rowActions = {
    act,
    retry: (/** @type {string} */ key) => again(key, (room, pending) => person.retry(room, pending)),
    drop: (/** @type {string} */ key) => again(key, (room, pending) => person.drop(room, pending)),
    refresh: (/** @type {string} */ id) => person.call(`/v1/attachments/${id}`),
  };
  const again = (/** @type {string} */ key, /** @type {(room: string, pending: any) => void} */ then) => {
    const pending = current()?.pending.find((it) => it.key === key);
    if (pending) then(current()?.id ?? "", pending);
  };
  const draw = keyed(messages, (/** @type {Item} */ item) => item.key, (item) => {
    if (item.kind === "day") return { element: h("li", { class: "day" }, h("span", { text: item.text })) };
    const row = messageRow(rowActions);
    return { element: row.element, update: (/** @type {Item} */ it) => { if (it.kind === "message") row.update(it.view); } };
  });

  let shown = "";
  let atEnd = true;
  let first = "";
  let top = 0;
  const toEnd = (smooth = false) => {
    atEnd = true;
    scroller.scrollTo({ top: scroller.scrollHeight, behavior: smooth ? "smooth" : "instant" });
  };
  const scrolled = () => {
    // Only who scrolls up leaves the end: content that grows below does not.
    if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR) atEnd = true;
    else if (scroller.scrollTop < top - 1) atEnd = false;
    top = scroller.scrollTop;
    const room = current();
    if (scroller.scrollTop < 240 && room?.loaded && room.older) person.loadOlder(room.id).catch(() => {});
    look();
  };
  /** What is in view at the end of the conversation has been seen. */
  const look = () => {
    const room = current();
    const visible = document.visibilityState === "visible" && body.offsetParent !== null;
    if (room?.loaded && atEnd && visible) person.see(room.id);
    const news = room ? room.last.id - (room.seen[person.id] ?? 0) : 0;
    show(newer, !atEnd);
    setText(newer.lastElementChild ?? newer, news > 0 ? `${news} new` : "");
  };
  document.addEventListener("visibilitychange", look);
  // Pictures that load, and the composer that grows, must not push the newest message out of view.
  const sizes = new ResizeObserver(() => atEnd && toEnd());
  sizes.observe(messages);
  sizes.observe(scroller);
  sizes.observe(typing);

  return {
    element, look,
    focus: () => box.focus(),
    close() {
      document.removeEventListener("visibilitychange", look);
      sizes.disconnect();
    },
    update() {
      const { state } = person;
      const room = current();
      show(nothing, !room);
      show(body, room !== undefined);
      if (!room) {
        shown = "";
        return;
      }
      const changed = shown !== room.id;
      shown = room.id;
      const other = counterpart(state, room);
      face.update(other);
      setText(title, other.name);
      setText(subtitle, who(state, room));
      deal.update(room);
      const items = itemsOf(person, room, campaigns);
      const height = scroller.scrollHeight;
      const oldest = room.messages[0]?.message_id ?? "";
      scroller.setAttribute("aria-busy", String(changed || oldest !== first));
      draw(items);
      messages.classList.toggle("loading", !room.loaded && room.messages.length === 0);
      // Older messages that come in above leave what is read where it is.
      if (!changed && oldest !== first && !atEnd) scroller.scrollTop += scroller.scrollHeight - height;
      first = oldest;
      olderNote.classList.toggle("more", room.older && room.loaded);
      const names = typists(state, room);
      typing.classList.toggle("on", names.length > 0);
      if (names.length > 0) setText(typing.lastElementChild ?? typing, `${list(names)} ${names.length > 1 ? "are" : "is"} typing`);
      show(notice, room.notice !== undefined);
      if (room.notice) setText(notice.children[1], room.notice);
      box.update(room);
      const sentNow = room.pending.some((it) => it.stage === "sending" && Date.now() - Date.parse(it.at) < 300);
      if (changed || atEnd || sentNow) toEnd();
      look();
      requestAnimationFrame(() => scroller.setAttribute("aria-busy", "false"));
    },
  };
}

/** @param {State} state @param {RoomState} room */
function who(state, room) {
  if (sideOf(state, room) === "company") {
    const status = state.users[room.creator]?.status ?? "offline";
    return `Creator · ${status}`;
  }
  const team = room.members.map((id) => state.users[id]).filter((it) => it?.company?.id === room.company.id);
  for (const status of ["online", "away", "offline"]) {
    const names = team.filter((it) => it.status === status).slice(0, 3).map((it) => it.given_name);
    if (names.length > 0) return `${list(names)} · ${status}`;
  }
  return "offline";
}

/** @param {import("../person.js").Person} person @param {RoomState} room @param {import("./deal.js").Campaign[]} campaigns @returns {Item[]} */
function itemsOf(person, room, campaigns) {
  const { state } = person;
  const views = [...room.messages.map((it) => sentView(person, room, it, campaigns)),
    ...room.pending.map((it) => pendingView(person, room, it, campaigns))];
  mark(state, room, views);
  /** @type {Item[]} */
  const items = [];
  for (const [index, view] of views.entries()) {
    const [before, after] = [views[index - 1], views[index + 1]];
    const newDay = !before || day(before.at) !== day(view.at);
    if (newDay && (before || !room.older)) items.push({ kind: "day", key: `day ${day(view.at)}`, text: day(view.at) });
    view.first = newDay || !together(before, view);
    view.last = !after || day(after.at) !== day(view.at) || !together(view, after);
    items.push({ kind: "message", key: view.key, view });
  }
  return items;
}

/** @param {MessageView} a @param {MessageView} b */
function together(a, b) {
  return a.author.name === b.author.name && Date.parse(b.at) - Date.parse(a.at) < TOGETHER;
}

/** Who has read: said once, under the last of one's own messages that they have. @param {State} state @param {RoomState} room @param {MessageView[]} views */
function mark(state, room, views) {
  const own = views.filter((it) => it.mine);
  for (const view of own) {
    if (view.stage === "failed") view.mark = "Not sent";
    else if (view.stage === "waiting") view.mark = "Waiting for the connection";
    else if (view.stage === "sending") view.mark = "Sending";
  }
  const sent = own.filter((it) => it.id !== undefined);
  const read = sent.findLast((it) => seenBy(state, room, it.id ?? 0).length > 0);
  const newest = sent.at(-1);
  if (newest) newest.mark = "Sent";
  if (!read) return;
  const names = seenBy(state, room, read.id ?? 0).map((id) => state.users[id]?.given_name ?? "");
  const company = sideOf(state, room) === "creator";
  read.mark = company ? `Seen by ${room.company.name} (${list(names)})` : `Seen by ${names[0]}`;
  for (const view of sent) view.read = (view.id ?? 0) <= (read.id ?? 0);
}

/** @param {import("../person.js").Person} person @param {string} id @param {RoomState} room */
function authorOf(person, id, room) {
  const user = person.state.users[id];
  if (!user) return { name: id === person.id ? "You" : "Somebody", short: "Somebody" };
  const company = id === room.creator ? undefined : user.company?.name;
  return { name: fullName(user), short: user.given_name, logo: user.logo_url, company };
}

/** @param {import("./deal.js").Campaign[]} campaigns @param {string} id */
const campaignName = (campaigns, id) => campaigns.find((it) => it.id === id)?.name ?? "Campaign";

/** @param {import("../person.js").Person} person @param {RoomState} room @param {import("../state.js").Message} message @param {import("./deal.js").Campaign[]} campaigns @returns {MessageView} */
function sentView(person, room, message, campaigns) {
  const { attachment: file, contract_change: change, change_selected_campaign_to: moved } = message;
  const mine = message.from_user === person.id;
  return {
    key: message.message_id, id: message.id, mine, at: message.timestamp, content: message.content,
    author: authorOf(person, message.from_user, room), change: change?.type, first: true, last: true,
    moved: moved && !change ? campaignName(campaigns, moved) : undefined,
    file: file && { id: file.id, name: file.name, size: file.size, type: file.content_type, link: file.link },
    offer: change?.type === "proposed_by_company"
      ? offerOf(person, room, campaigns, change.campaign_id, change.payout, message.id) : undefined,
  };
}

/** @param {import("../person.js").Person} person @param {RoomState} room @param {import("../state.js").Pending} pending @param {import("./deal.js").Campaign[]} campaigns @returns {MessageView} */
function pendingView(person, room, pending, campaigns) {
  const { change, campaign, file } = pending;
  return {
    key: pending.key, mine: true, at: pending.at, content: pending.content, stage: pending.stage, why: pending.why,
    author: authorOf(person, person.id, room), change: change?.type, first: true, last: true,
    moved: campaign && !change ? campaignName(campaigns, campaign) : undefined,
    file: file && { ...file, progress: pending.progress },
    offer: change?.type === "proposed_by_company"
      ? offerOf(person, room, campaigns, change.campaign_id, change.payout) : undefined,
  };
}

/** @param {import("../person.js").Person} person @param {RoomState} room @param {import("./deal.js").Campaign[]} campaigns @param {string} campaign @param {number} cents @param {number} [id] */
function offerOf(person, room, campaigns, campaign, cents, id) {
  const contract = room.contracts[campaign];
  const proposals = room.messages.filter((it) =>
    it.contract_change?.type === "proposed_by_company" && it.contract_change.campaign_id === campaign);
  const current = contract?.state === "proposed" && contract.changed_in === id && room.campaign === campaign;
  return {
    campaign: campaignName(campaigns, campaign), payout: money(cents, person.config.currency), contract, current,
    latest: proposals.at(-1)?.id === id, pending: id === undefined,
    revised: id === undefined ? contract !== undefined : (proposals[0]?.id ?? id) < id,
    allowed: moves(contract, sideOf(person.state, room)), changing: changing(room),
  };
}
