// @ts-check
/** The deal: which campaign, which terms, how far it has come, and what this side may do now. */

import { attribute, h, icon, keyed, setText, show } from "../dom.js";
import { changeFor, changing, contractOf, moves, sideOf } from "../state.js";
import { DONE, clock, day, fullName, money, stateName } from "../words.js";
import { Settling } from "./settle.js";

/** @typedef {import("../state.js").Move} Move */
/** @typedef {import("../state.js").RoomState} RoomState */
/** @typedef {import("../api.d.ts").Contract} Contract */
/** @typedef {{ id: string, company_id: string, name: string, open: boolean }} Campaign */

/** @type {Record<Move, { label: (payout: string) => string, look: string, sure?: string }>} */
const MOVES = {
  propose: { label: () => "Propose terms", look: "primary" },
  revise: { label: () => "Revise", look: "" },
  withdraw: { label: () => "Withdraw", look: "quiet", sure: "Withdraw?" },
  accept: { label: (payout) => `Accept ${payout}`, look: "primary" },
  decline: { label: () => "Decline", look: "quiet", sure: "Decline?" },
  cancel: { label: () => "Cancel", look: "quiet", sure: "Cancel the deal?" },
  finish: { label: () => "Mark as finished", look: "primary" },
  approve: { label: () => "Approve the work", look: "primary" },
};
const STEPS = /** @type {const} */ (["proposed", "accepted", "finished", "approved"]);
/** How long a button waits to be pressed again, in ms. */
const SURE_FOR = 4_000;

/** How long new buttons, and the question whether one is sure, must be seen before they can be pressed, in ms. */
const NEW_FOR = 1_000, ASKED_FOR = 700;

/**
 * The buttons for what a side may do. What cannot be taken back is asked twice. Nothing is pressed by a second click
 * at what was in its place before, nor while a change is on its way.
 * @param {(move: Move) => void} act
 */
export function moveButtons(act) {
  const element = h("div", { class: "moves" });
  let [payout, busy, ripe, drawn] = ["", false, true, ""];
  /** @type {Move[]} */
  let current = [];
  const fresh = new Settling(NEW_FOR, (now) => { ripe = now; draw(current); });
  const draw = keyed(element, (/** @type {Move} */ move) => move, (move) => {
    const { label, look, sure } = MOVES[move];
    let [asked, askedIn, certain] = [0, "", true];
    const question = new Settling(ASKED_FOR, (now) => { certain = now; enable(); });
    // Not `disabled`, which would take the focus away.
    const enable = () => attribute(button, "aria-disabled", busy || !ripe || !certain ? "true" : undefined);
    const button = h("button", { type: "button", class: `button ${look}`, "data-move": move, onclick: (/** @type {Event} */ event) => {
      if (busy || !fresh.takes(event.timeStamp) || !question.takes(event.timeStamp)) return;
      if (sure && asked === 0) {
        setText(button, sure);
        button.classList.add("danger");
        askedIn = drawn;
        asked = setTimeout(calm, SURE_FOR);
        question.begin();
      } else {
        calm();
        act(move);
      }
    } });
    const calm = () => {
      clearTimeout(asked);
      asked = 0;
      button.classList.remove("danger");
      setText(button, label(payout));
      question.end();
    };
    return { element: button, update: () => {
      if (asked === 0) setText(button, label(payout));
      else if (askedIn !== drawn) calm();
      enable();
    } };
  });
  return {
    element,
    /** @param {Move[]} allowed @param {string} sum @param {string} about  what they are about @param {boolean} changing */
    update(allowed, sum, about, changing) {
      [current, payout, busy] = [allowed, sum, changing];
      show(element, allowed.length > 0);
      const now = [about, sum, ...allowed].join();
      if (now === drawn) return draw(allowed);
      drawn = now;
      fresh.begin();
    },
  };
}

/**
 * The bar above the messages.
 * @param {import("../person.js").Person} person
 * @param {Campaign[]} campaigns
 * @param {{ act(move: Move): void, select(campaign: string): void }} actions
 */
export function dealBar(person, campaigns, actions) {
  const picker = h("select", { "aria-label": "Campaign", onchange: () => actions.select(picker.value) });
  const [amount, pill] = [h("span", { class: "deal-amount" }), h("span", { class: "pill" })];
  const steps = h("ol", { class: "steps", "aria-label": "Progress" },
    ...STEPS.map((step) => h("li", { text: step[0].toUpperCase() + step.slice(1), "data-step": step })));
  const buttons = moveButtons(actions.act);
  const historyButton = h("button", { type: "button", class: "icon-button", "aria-label": "History of this contract",
    title: "History", onclick: () => showHistory(person, campaigns) }, icon("history"));
  const element = h("div", { class: "deal", role: "group", "aria-label": "Contract" },
    h("div", { class: "deal-top" },
      h("span", { class: "campaign" }, icon("flag"), picker, icon("chevron", "chevron")), historyButton),
    h("div", { class: "deal-main" }, h("span", { class: "deal-sum" }, amount, pill), buttons.element),
    steps);
  let offered = "";
  return {
    element,
    /** @param {RoomState} room */
    update(room) {
      const own = campaigns.filter((it) => it.company_id === room.company.id);
      const options = own.map((it) => it.id + it.open).join() + (room.campaign ? "" : "none");
      if (options !== offered) {
        offered = options;
        const none = room.campaign ? [] : [h("option", { value: "", text: "Choose a campaign" })];
        picker.replaceChildren(...none, ...own.map((it) => h("option", { value: it.id, text: it.name })));
      }
      if (document.activeElement !== picker) picker.value = room.campaign ?? "";
      const contract = contractOf(room);
      const payout = contract ? money(contract.payout, person.config.currency) : "";
      setText(amount, payout || "No terms yet");
      amount.classList.toggle("none", !contract);
      amount.classList.toggle("void", contract?.state === "withdrawn" || contract?.state === "cancelled");
      show(pill, contract !== undefined);
      setText(pill, contract ? stateName(contract) : "");
      pill.dataset.state = contract?.state ?? "";
      show(historyButton, contract !== undefined);
      const about = `${room.id} ${room.campaign}`;
      buttons.update(moves(contract, sideOf(person.state, room)), payout, about, changing(room));
      const reached = STEPS.findIndex((step) => step === contract?.state);
      show(steps, reached >= 0);
      for (const [index, step] of [...steps.children].entries()) {
        step.classList.toggle("done", index <= reached);
        step.classList.toggle("now", index === reached);
      }
    },
  };
}

/** @param {import("../person.js").Person} person @param {Campaign[]} campaigns */
async function showHistory(person, campaigns) {
  const room = person.state.open ? person.state.rooms[person.state.open] : undefined;
  if (!room?.campaign) return;
  const items = h("ol", { class: "history" }, h("li", { class: "skeleton" }));
  const name = campaigns.find((it) => it.id === room.campaign)?.name ?? "Contract";
  const dialog = h("dialog", { class: "sheet", "aria-label": `History of ${name}`, onclose: () => dialog.remove(),
    onclick: (/** @type {Event} */ event) => event.target === dialog && dialog.close() },
    h("header", {}, h("h2", { text: name }), h("button", { type: "button", class: "icon-button", "aria-label": "Close",
      onclick: () => dialog.close() }, icon("close"))), items);
  document.body.append(dialog);
  dialog.showModal();
  try {
    const { changes } = await person.history(room.id, room.campaign);
    items.replaceChildren(...changes.map((it) => h("li", { "data-state": it.contract.state },
      h("strong", { text: `${fullName(it.from_user)} ${DONE[/** @type {keyof typeof DONE} */ (it.change.type)]}` }),
      it.change.type === "proposed_by_company" &&
        h("span", { class: "sum", text: money(it.change.payout, person.config.currency) }),
      h("time", { datetime: it.timestamp, text: `${day(it.timestamp)}, ${clock(it.timestamp)} · version ${it.contract.version}` }))));
  } catch {
    items.replaceChildren(h("li", { text: "The history could not be loaded. Close this and try again." }));
  }
}

/**
 * A proposal in the conversation.
 * @param {(move: Move) => void} act
 */
export function offerCard(act) {
  const [title, pill, amount, note] =
    ["offer-title", "pill", "offer-amount", "offer-note"].map((it) => h("span", { class: it }));
  const buttons = moveButtons(act);
  const element = h("article", { class: "offer" },
    h("header", {}, h("span", { class: "offer-icon" }, icon("offer")), title, pill), amount, note, buttons.element);
  return {
    element,
    /**
     * @param {{ campaign: string, payout: string, revised: boolean, contract?: Contract, latest: boolean,
     *   current: boolean, allowed: Move[], pending: boolean, changing: boolean }} offer
     */
    update({ campaign, payout, revised, contract, latest, current, allowed, pending, changing }) {
      setText(title, revised ? "Revised proposal" : "Proposal");
      setText(amount, payout);
      setText(note, campaign);
      const superseded = !latest && !pending;
      setText(pill, pending ? "Sending" : superseded || !contract ? "Superseded" : stateName(contract));
      pill.dataset.state = superseded ? "superseded" : pending ? "" : contract?.state ?? "";
      element.classList.toggle("superseded", superseded);
      element.setAttribute("aria-label", `${title.textContent} of ${payout} for ${campaign}: ${pill.textContent}`);
      buttons.update(current ? allowed : [], payout, campaign, changing);
    },
  };
}

export { changeFor };
