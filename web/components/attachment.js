// @ts-check
/** A file in a message: a picture that can be looked at, or a card to open it by. */

import { h, icon, show } from "../dom.js";
import { size } from "../words.js";

/** What an `<img>` may show; the server decides by the bytes what it calls so. */
const PICTURES = /^image\/(png|jpeg|gif|webp|avif)$/;

/**
 * @typedef {object} FileView
 * @property {string} id
 * @property {string} name
 * @property {number} size
 * @property {string} type
 * @property {string} [link]
 * @property {string} [preview]  a picture that is on its way
 * @property {number} [progress]
 */

/** @param {FileView} first @param {(id: string) => Promise<import("../api.d.ts").Attachment>} refresh */
export function attachment(first, refresh) {
  return PICTURES.test(first.type) ? picture(first, refresh) : card(first, refresh);
}

/** @param {FileView} first @param {(id: string) => Promise<import("../api.d.ts").Attachment>} refresh */
function picture(first, refresh) {
  const image = h("img", { alt: first.name, decoding: "async", title: `${first.name} · ${size(first.size)}` });
  const bar = progress();
  const button = h("button", { type: "button", class: "picture", "aria-label": `Show ${first.name}`,
    onclick: () => lightbox(link || image.src, first.name) }, image, bar.element);
  let [link, renewed] = ["", false];
  image.addEventListener("error", async () => {
    // Links live for an hour or two.
    if (renewed || link === "") return;
    renewed = true;
    const fresh = await refresh(first.id).catch(() => undefined);
    if (fresh) image.src = link = fresh.link;
  });
  return {
    element: button,
    /** @param {FileView} file */
    update(file) {
      // The picture that was sent stays when the message arrives: it is the same.
      const source = file.preview ?? file.link;
      if (!image.src && source) image.src = source;
      if (file.link && !renewed) link = file.link;
      bar.update(file.link ? undefined : file.progress ?? 0);
    },
  };
}

/** @param {FileView} first @param {(id: string) => Promise<import("../api.d.ts").Attachment>} refresh */
function card(first, refresh) {
  let renewed = false;
  /** Links live for an hour or two: one that has ended is renewed when somebody reaches for it. */
  const renew = async () => {
    const end = Number(new URL(link.href || location.href).searchParams.get("exp") ?? Infinity) * 1000;
    if (end - Date.now() > 60_000) return;
    const fresh = await refresh(first.id).catch(() => undefined);
    renewed = fresh !== undefined;
    if (fresh) link.href = fresh.link;
  };
  const bar = progress();
  const ending = /\.([A-Za-z0-9]{1,5})$/.exec(first.name)?.[1]?.toUpperCase();
  const link = h("a", { class: "file", target: "_blank", rel: "noopener noreferrer", onpointerenter: renew,
    onfocus: renew },
    h("span", { class: "file-icon" }, icon("file")),
    h("span", { class: "file-text" },
      h("span", { class: "file-name", text: first.name }),
      h("span", { class: "file-size", text: [ending, size(first.size)].filter(Boolean).join(" · ") })),
    bar.element);
  return {
    element: link,
    /** @param {FileView} file */
    update(file) {
      if (file.link && !renewed) link.href = file.link;
      bar.update(file.link ? undefined : file.progress ?? 0);
    },
  };
}

export function progress() {
  const element = h("progress", { max: 1, value: 0, "aria-label": "Upload" });
  return {
    element,
    /** @param {number | undefined} done */
    update(done) {
      show(element, done !== undefined);
      if (done !== undefined) element.value = done;
    },
  };
}

/** @param {string} source @param {string} name */
function lightbox(source, name) {
  const dialog = h("dialog", { class: "lightbox", "aria-label": name, onclick: () => dialog.close(), onclose: () => dialog.remove() },
    h("img", { src: source, alt: name }),
    h("p", {}, h("span", { text: name }),
      h("button", { type: "button", class: "icon-button", "aria-label": "Close" }, icon("close"))));
  document.body.append(dialog);
  dialog.showModal();
}
