// @ts-check
/** Where messages are written: text, a file by button, drop or paste, and terms. */

import { h, icon, setText, show } from "../dom.js";
import { changing, sideOf } from "../state.js";
import { cents, money, size } from "../words.js";
import { toast } from "./toast.js";

/** @typedef {import("../state.js").RoomState} RoomState */

/** @param {import("../person.js").Person} person @param {import("./deal.js").Campaign[]} campaigns */
export function composer(person, campaigns) {
  const { max_attachment_bytes: most, max_content_characters: longest, currency } = person.config;
  /** @type {RoomState | undefined} */
  let room;
  /** @type {File | undefined} */
  let file;
  let previewUrl = "";
  /** What was being written, by room. @type {Map<string, string>} */
  const drafts = new Map();

  const text = h("textarea", { rows: 1, placeholder: "Write a message", "aria-label": "Message", maxlength: longest,
    enterkeyhint: "send", oninput: () => typed(), onkeydown: keys, onblur: () => room && person.type(room.id, false),
    onpaste: (/** @type {ClipboardEvent} */ event) => {
      const pasted = event.clipboardData?.files[0];
      if (pasted) {
        event.preventDefault();
        choose(pasted);
      }
    } });
  const chooser = h("input", { type: "file", hidden: true, "aria-label": "File", onchange: () => {
    if (chooser.files?.[0]) choose(chooser.files[0]);
    chooser.value = "";
  } });
  const attachButton = h("button", { type: "button", class: "icon-button", "aria-label": "Attach a file",
    title: "Attach a file", onclick: () => chooser.click() }, icon("attach"));
  const proposeButton = h("button", { type: "button", class: "icon-button", "aria-label": "Propose terms",
    title: "Propose terms", "aria-expanded": "false", onclick: () => openTerms(terms.hidden) }, icon("offer"));
  const sendLabel = h("span", { class: "sr", text: "Send" });
  const sendButton = h("button", { type: "submit", class: "send", title: "Send" }, icon("send"), sendLabel);

  const campaign = h("select", { "aria-label": "Campaign", onchange: () => hint() });
  const amount = h("input", { inputmode: "decimal", "aria-label": "Payout", autocomplete: "off", placeholder: "1,250",
    oninput: () => hint(), onkeydown: keys });
  const symbol = money(0, currency).replace(/[\d.,\s\u00a0]/g, "");
  const note = h("p", { class: "terms-note", "aria-live": "polite" });
  const terms = h("div", { class: "terms", hidden: true, role: "group", "aria-label": "Terms" },
    h("div", { class: "terms-head" }, h("strong", { text: "Propose terms" }),
      h("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: () => openTerms(false) }, icon("close"))),
    h("div", { class: "terms-fields" },
      h("label", { class: "field" }, h("span", { text: "Campaign" }), campaign),
      h("label", { class: "field money" }, h("span", { text: "Payout" }),
        h("span", { class: "money-input" }, h("span", { text: symbol, "aria-hidden": "true" }), amount))),
    note);

  const thumb = h("img", { alt: "", hidden: true });
  const fileName = h("span", { class: "chip-name" });
  const chip = h("div", { class: "chip", hidden: true }, h("span", { class: "chip-icon" }, icon("file"), thumb), fileName,
    h("button", { type: "button", class: "icon-button", "aria-label": "Remove the file", onclick: () => choose(undefined) },
      icon("close")));
  const form = h("form", { class: "composer", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    send();
  } }, terms, chip, h("div", { class: "composer-row" }, attachButton, chooser, proposeButton, text, sendButton));
  const overlay = h("div", { class: "drop", hidden: true, "aria-hidden": "true" },
    h("div", {}, icon("attach"), h("strong", { text: "Drop to attach" }), h("span", { text: `One file, up to ${size(most)}` })));

  /** @param {KeyboardEvent} event */
  function keys(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      send();
    } else if (event.key === "Escape" && !terms.hidden) {
      openTerms(false);
      text.focus();
    }
  }

  function typed() {
    grow();
    ready();
    if (room) person.type(room.id, text.value !== "");
  }

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight, 168)}px`;
  }

  function ready() {
    const proposing = !terms.hidden;
    const good = proposing ? cents(amount.value) !== undefined && campaign.value !== "" && !(room && changing(room))
      : text.value.trim() !== "" || file !== undefined;
    sendButton.disabled = !good;
    setText(sendLabel, proposing ? "Send proposal" : "Send");
    sendButton.classList.toggle("labelled", proposing);
  }

  function hint() {
    const payout = cents(amount.value);
    const bad = amount.value.trim() !== "" && payout === undefined;
    amount.setAttribute("aria-invalid", String(bad));
    const known = room?.contracts[campaign.value];
    const revises = known?.state === "proposed" ? `Replaces ${money(known.payout, currency)}. ` : "";
    setText(note, bad ? "Please write an amount, such as 1,250 or 1250.50."
      : payout === undefined ? "Add a message below if you like." : `${revises}You offer ${money(payout, currency)}.`);
    ready();
  }

  /** The campaigns that terms may be proposed for. @param {RoomState} room */
  function proposable(room) {
    return campaigns.filter((it) => it.company_id === room.company.id && it.open
      && !["accepted", "finished", "approved"].includes(room.contracts[it.id]?.state));
  }

  /** @param {boolean} open */
  function openTerms(open) {
    if (!room) return;
    show(terms, open);
    proposeButton.setAttribute("aria-expanded", String(open));
    if (open) {
      const own = proposable(room);
      campaign.replaceChildren(...own.map((it) => h("option", { value: it.id, text: it.name })));
      campaign.value = own.find((it) => it.id === room?.campaign)?.id ?? own[0]?.id ?? "";
      amount.value = "";
      amount.focus();
    }
    text.placeholder = open ? "Add a message (optional)" : "Write a message";
    hint();
    grow();
  }

  /** @param {File | undefined} next */
  function attach(next) {
    if (next && next.size > most) {
      toast(`${next.name} is too large: files may have up to ${size(most)}.`);
      return;
    }
    URL.revokeObjectURL(previewUrl);
    file = next;
    const isPicture = next !== undefined && /^image\/(png|jpeg|gif|webp|avif)$/.test(next.type);
    previewUrl = isPicture ? URL.createObjectURL(next) : "";
    show(thumb, isPicture);
    if (isPicture) thumb.src = previewUrl;
    show(chip, next !== undefined);
    setText(fileName, next ? `${next.name || "file"} · ${size(next.size)}` : "");
    ready();
  }

  /** @param {File | undefined} next */
  function choose(next) {
    attach(next);
    text.focus();
  }

  function send() {
    ready();
    if (!room || sendButton.disabled) return;
    const content = text.value.trim();
    const payout = cents(amount.value);
    /** @type {import("../person.js").Draft} */
    const draft = { content, file };
    if (!terms.hidden && payout !== undefined) {
      const expected_version = room.contracts[campaign.value]?.version ?? 0;
      draft.change = { type: "proposed_by_company", campaign_id: campaign.value, payout, expected_version };
    }
    person.send(room.id, draft);
    text.value = "";
    drafts.delete(room.id);
    if (!terms.hidden) openTerms(false);
    attach(undefined);
    grow();
  }

  return {
    element: form,
    focus: () => text.focus({ preventScroll: true }),
    propose: () => openTerms(true),
    /** Files may be dropped anywhere on this. @param {HTMLElement} zone */
    dropZone(zone) {
      zone.append(overlay);
      let depth = 0;
      const carries = (/** @type {DragEvent} */ event) => event.dataTransfer?.types.includes("Files") && room;
      zone.addEventListener("dragenter", (event) => { if (carries(event)) { depth += 1; show(overlay, true); } });
      zone.addEventListener("dragleave", (event) => {
        if (carries(event)) depth = Math.max(0, depth - 1);
        if (depth === 0) show(overlay, false);
      });
      zone.addEventListener("dragover", (event) => { if (carries(event)) event.preventDefault(); });
      zone.addEventListener("drop", (event) => {
        depth = 0;
        show(overlay, false);
        if (!carries(event)) return;
        event.preventDefault();
        const files = event.dataTransfer?.files;
        if (files && files.length > 1) toast("One file at a time: the first is attached.");
        choose(files?.[0]);
      });
    },
    /** @param {RoomState} next */
    update(next) {
      if (next.id !== room?.id) {
        if (room) drafts.set(room.id, text.value);
        room = next;
        text.value = drafts.get(next.id) ?? "";
        show(terms, false);
        attach(undefined);
        grow();
      }
      room = next;
      show(proposeButton, sideOf(person.state, next) === "company" && proposable(next).length > 0);
      ready();
    },
  };
}
