// @ts-check
/** What is said to people: money, times, names, and plain words for what a program calls `terms_changed`. Pure. */

/** @typedef {import("./api.d.ts").Contract} Contract */
/** @typedef {import("./api.d.ts").ContractState} ContractState */
/** @typedef {import("./api.d.ts").Problem} Problem */
/** @typedef {import("./api.d.ts").ContractChange["type"]} ChangeType */

/** @param {number} cents @param {string} currency @param {string} [locale] */
export function money(cents, currency, locale) {
  const whole = cents % 100 === 0;
  const digits = { minimumFractionDigits: whole ? 0 : 2, maximumFractionDigits: whole ? 0 : 2 };
  return new Intl.NumberFormat(locale, { style: "currency", currency, ...digits }).format(cents / 100);
}

/**
 * What somebody typed as an amount, in cents; `undefined` if it is none. A comma or point before one or two last
 * digits parts the cents, all others part thousands.
 * @param {string} text
 */
export function cents(text) {
  const bare = text.replace(/[\s\u00a0\u202f'’]|[^\d.,]/g, "");
  const match = /^(\d+|\d{1,3}(?:[.,]\d{3})+)(?:[.,](\d{1,2}))?$/.exec(bare);
  if (!match || /-/.test(text)) return undefined;
  const amount = Number(match[1].replace(/[.,]/g, "")) * 100 + Number((match[2] ?? "0").padEnd(2, "0"));
  return Number.isSafeInteger(amount) ? amount : undefined;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 999_500) return `${Math.round(bytes / 1000)} kB`;
  return `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/**
 * A file's name as Haggle takes it: one path segment of at most 255 bytes, without characters that turn the reading
 * order or are not seen. The ending is kept.
 * @param {string} name
 */
export function fileName(name) {
  const seen = name.replace(/[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu, "").replace(/[/\\]/g, "-").trim();
  const ending = /\.[A-Za-z0-9]{1,10}$/.exec(seen)?.[0] ?? "";
  let stem = seen.slice(0, seen.length - ending.length);
  while (new TextEncoder().encode(stem + ending).length > 255) stem = [...stem].slice(0, -1).join("");
  const whole = stem + ending;
  return /^\.*$/.test(whole) ? "file" : whole;
}

/** @param {{ given_name: string, family_name: string }} person */
export const fullName = (person) => `${person.given_name} ${person.family_name}`;

/** @param {string} name */
export function initials(name) {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const first = (/** @type {string | undefined} */ word) => word ? [...word][0].toUpperCase() : "";
  return first(words[0]) + (words.length > 1 ? first(words.at(-1)) : "") || "?";
}

/** A colour of one's own, as an angle. @param {string} text */
export function hue(text) {
  let hash = 2_166_136_261;
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 16_777_619);
  return (hash >>> 8) % 360;
}

/** @param {string} at @param {string} [locale] */
export const clock = (at, locale) => new Intl.DateTimeFormat(locale, { timeStyle: "short" }).format(new Date(at));

/** @param {Date} date */
const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

/** @param {string} at @param {Date} [now] @param {string} [locale] */
export function day(at, now = new Date(), locale) {
  const date = new Date(at);
  const days = Math.round((midnight(now) - midnight(date)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  /** @type {Intl.DateTimeFormatOptions} */
  const form = { weekday: "long", day: "numeric", month: "long" };
  if (date.getFullYear() !== now.getFullYear()) form.year = "numeric";
  return new Intl.DateTimeFormat(locale, form).format(date);
}

/** Short, for a list: the time today, else the day. @param {string} at @param {Date} [now] @param {string} [locale] */
export function moment(at, now = new Date(), locale) {
  const name = day(at, now, locale);
  if (name === "Today") return clock(at, locale);
  if (name === "Yesterday") return name;
  return new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" }).format(new Date(at));
}

/** @param {string[]} names */
export function list(names) {
  if (names.length < 3) return names.join(" and ");
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** @type {Record<ContractState, string>} */
export const STATES = {
  proposed: "Proposed", accepted: "Accepted", withdrawn: "Withdrawn", cancelled: "Cancelled", finished: "Finished",
  approved: "Approved",
};

/** @param {Contract} contract */
export const stateName = (contract) => contract.declined ? "Declined" : STATES[contract.state];

/** What a change is called once it is made, after its author's name. @type {Record<ChangeType, string>} */
export const DONE = {
  proposed_by_company: "proposed", accepted_by_creator: "accepted the terms",
  withdrawn_by_company: "withdrew the proposal", cancelled_by_creator: "cancelled",
  finished_by_creator: "marked the work as finished", approved_by_company: "approved the work",
};

/** @type {Record<ChangeType, string>} */
const ATTEMPT = {
  proposed_by_company: "you proposed", accepted_by_creator: "you accepted", withdrawn_by_company: "you withdrew",
  cancelled_by_creator: "you cancelled", finished_by_creator: "you marked it finished",
  approved_by_company: "you approved",
};

/**
 * What happened instead, when somebody else was faster.
 * @param {ChangeType} attempt
 * @param {Contract} now
 * @param {string} who  the author of the latest change
 * @param {string} payout  the payout in force, as money
 */
export function lostRace(attempt, now, who, payout) {
  const before = `a moment before ${ATTEMPT[attempt]}`;
  switch (now.state) {
    case "proposed":
      return `The terms changed to ${payout} ${before}. Look again: nothing was sent.`;
    case "accepted":
      return `${who} accepted ${payout} ${before}. The deal stands.`;
    case "withdrawn":
      return `${who} withdrew the proposal ${before}.`;
    case "cancelled":
      return `${who} ${now.declined ? "declined" : "cancelled"} ${before}.`;
    case "finished":
      return `${who} marked the work as finished ${before}.`;
    case "approved":
      return `${who} approved the work ${before}. This contract is complete.`;
  }
}

/** Everything else that is refused. @param {Problem | undefined} problem */
export function refusal(problem) {
  switch (problem?.code) {
    case undefined: return "Something went wrong. Please try again.";
    case "campaign_closed": return "This campaign takes no new proposals. Pick another one.";
    case "no_proposal": return "There is no proposal for this campaign yet.";
    case "too_large": return "This file is too large. Files may have up to 25 MiB.";
    case "unattached_quota": return "You have too many files waiting to be sent. Send or wait, then try again.";
    case "rate_limited": return "That was a lot at once. Wait a moment, then try again.";
    case "deactivated": return "This account has been deactivated.";
    case "unknown_user": return "This account is not known here.";
    case "not_found": return "This conversation is not open to you any more.";
    default: return problem?.detail ?? "Something went wrong. Please try again.";
  }
}
