// @ts-check
/** Elements, without a framework. Data gets in as text and attributes only, never as markup. */

/** @typedef {Node | string | false | undefined | null} Child */

/**
 * An element. `on…` properties are listeners, `class` and `text` what they say, others are attributes; `false` and
 * `undefined` leave one out.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any>} [props]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else attribute(element, name, value);
  }
  element.append(...children.filter((child) => child !== false && child != null).map((child) => child ?? ""));
  return element;
}

/** @param {Element} element @param {string} name @param {string | number | boolean | undefined | null} value */
export function attribute(element, name, value) {
  if (value === false || value == null) element.removeAttribute(name);
  else {
    const text = value === true ? "" : String(value);
    if (element.getAttribute(name) !== text) element.setAttribute(name, text);
  }
}

/** @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** @param {HTMLElement} element @param {boolean} shown */
export function show(element, shown) {
  if (element.hidden === shown) element.hidden = !shown;
}

/** Replaces children only if they are others. @param {Element} parent @param {Node[]} wanted */
export function setChildren(parent, wanted) {
  let at = parent.firstChild;
  for (const node of wanted) {
    if (node === at) at = at.nextSibling;
    else parent.insertBefore(node, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/**
 * Keeps the children of an element in step with a list: what stays keeps its element, and with it focus and scroll.
 * @template T
 * @param {Element} parent
 * @param {(item: T) => string} key
 * @param {(item: T) => { element: Element, update?: (item: T) => void }} make
 * @returns {(items: T[]) => void}
 */
export function keyed(parent, key, make) {
  /** @type {Map<string, { element: Element, update?: (item: T) => void }>} */
  let parts = new Map();
  return (items) => {
    const next = new Map();
    for (const item of items) {
      const id = key(item);
      const part = parts.get(id) ?? make(item);
      part.update?.(item);
      next.set(id, part);
    }
    parts = next;
    setChildren(parent, [...next.values()].map((part) => part.element));
  };
}

const SVG = "http://www.w3.org/2000/svg";
/** Strokes on a grid of 24. */
const ICONS = {
  attach: "M20 11.5 12 19.4a5 5 0 0 1-7.1-7.1l8.3-8.2a3.4 3.4 0 0 1 4.8 4.8l-8.2 8.1a1.7 1.7 0 0 1-2.4-2.4l7.3-7.2",
  send: "M5 12h14M13 6l6 6-6 6",
  back: "M15 5l-7 7 7 7",
  plus: "M12 5v14M5 12h14",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  checks: "M2 12.5 6.5 17 15 8M11 15.5l1.5 1.5L22 7.5",
  clock: "M12 7v5l3 2M12 21a9 9 0 1 1 0-18 9 9 0 0 1 0 18Z",
  file: "M13.5 3H7a1.5 1.5 0 0 0-1.5 1.5v15A1.5 1.5 0 0 0 7 21h10a1.5 1.5 0 0 0 1.5-1.5V8zM13.5 3v5h5",
  offer: "M3.5 12V5A1.5 1.5 0 0 1 5 3.5h7L20.4 12a1.5 1.5 0 0 1 0 2.1l-6.3 6.3a1.5 1.5 0 0 1-2.1 0zM8 8v.1",
  swap: "M7 8h12l-3.5-3.5M17 16H5l3.5 3.5",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  moon: "M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5Z",
  auto: "M4 5.5h16v10.5H4zM9 20h6M12 16v4",
  warn: "M12 8.5v4.5M12 16.5v.1M12 3.5 2.5 20h19z",
  history: "M4 12a8 8 0 1 0 2.5-5.8L4 8.5M4 4v4.5h4.5M12 8v4.5l3 1.5",
  chevron: "M7 10l5 5 5-5",
  down: "M12 5v14M6 13l6 6 6-6",
  flag: "M5 21V4M5 4.5c5-2.5 8 2.5 14 0v9c-6 2.5-9-2.5-14 0",
  chat: "M20 11.5c0 4-3.6 7-8 7-1.1 0-2.2-.2-3.2-.5L4 19.5l1.4-3.7A6.6 6.6 0 0 1 4 11.5c0-4 3.6-7 8-7s8 3 8 7Z",
};

/** A drawing beside a word that says the same. @param {keyof typeof ICONS} name @param {string} [className] */
export function icon(name, className = "") {
  const svg = document.createElementNS(SVG, "svg");
  for (const [attr, value] of Object.entries({ viewBox: "0 0 24 24", class: `icon ${className}`, "aria-hidden": "true" })) {
    svg.setAttribute(attr, value);
  }
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
