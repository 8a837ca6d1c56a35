// A negotiation between two generated clients (openapi-typescript, openapi-fetch) and a running server.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { EventSourceParserStream } from "eventsource-parser/stream";
import createClient from "openapi-fetch";
import type { components, paths } from "./haggle.js";

type Schemas = components["schemas"];
type StreamEvent = Schemas["StreamEvent"];
type EventOf<T extends StreamEvent["type"]> = Extract<StreamEvent, { type: T }>;

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is set`);
  return value;
}

const baseUrl = setting("HAGGLE_URL");
const company_id = setting("COMPANY");
const campaign_id = setting("CAMPAIGN");
const as = (token: string) => createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });
const company = as(setting("COMPANY_TOKEN"));
const creator = as(setting("CREATOR_TOKEN"));

/** The data of an answer that must be a success; a problem is thrown with its code. */
function ok<T>(answer: { data?: T; error?: Schemas["Problem"]; response: Response }): T {
  assert(answer.data, `${answer.response.url}: ${answer.response.status} ${answer.error?.code}`);
  return answer.data;
}

async function* events(): AsyncGenerator<StreamEvent, never> {
  const { data, response } = await creator.GET("/v1/events", { parseAs: "stream" });
  assert(data, `the stream is ${response.status}`);
  for await (const { event, data: text } of data
    .pipeThrough(new TextDecoderStream())
    .pipeThrough(new EventSourceParserStream({ onError: "terminate" }))) {
    const parsed: StreamEvent = JSON.parse(text);
    assert.equal(parsed.type, event, "the SSE name is the type");
    yield parsed;
  }
  throw new Error("the stream ended");
}

/** The next durable event, which must be of this type. */
async function expect<T extends StreamEvent["type"]>(type: T): Promise<EventOf<T>> {
  for (;;) {
    const { value } = await stream.next();
    switch (value.type) {
      case "presence":
      case "activity_change":
      case "typing_change":
      case "heartbeat":
      case "new_last_view":
        continue;
    }
    assert.equal(value.type, type);
    return value as EventOf<T>;
  }
}

const stream = events();
const hello = await expect("hello");
assert.equal(hello.resumed, false);

const opened = await creator.POST("/v1/rooms", {
  body: { message: { content: "Hi!" }, direction: { type: "user_to_company", company_id } },
});
assert.equal(opened.response.status, 201);
const { room_id } = ok(opened);
const room = { params: { path: { room_id } } };
const created = await expect("room_created_with_you");
assert.equal(created.room_id, room_id);
assert.equal(created.message.from_user.id, hello.user_id);
assert.deepEqual(created.users.map((user) => user.given_name).sort(), ["Ada", "Nora"]);

const terms = { type: "proposed_by_company", campaign_id, payout: 125_000 } as const;
ok(await company.POST("/v1/rooms/{room_id}/messages", { ...room, body: { content: "Terms.", contract_change: terms } }));
const proposed = await expect("new_message");
assert.equal(proposed.contract?.state, "proposed");
const change = proposed.message.contract_change;
assert(change?.type === "proposed_by_company"); // narrows: only proposals have terms
assert.equal(change.payout, 125_000);

const accept = (expected_payout: number, key: string) =>
  creator.POST("/v1/rooms/{room_id}/messages", {
    params: { ...room.params, header: { "Idempotency-Key": key } },
    body: { content: "Deal!", contract_change: { type: "accepted_by_creator", expected_version: 1, expected_payout } },
  });
const { error: problem, response: refused } = await accept(90_000, randomUUID());
assert.equal(refused.status, 409);
assert.equal(problem?.code, "terms_changed");
assert.equal(problem.contract?.payout, 125_000);

const key = randomUUID();
assert.equal(ok(await accept(125_000, key)).message_id, key);
const accepted = await expect("new_message");
assert.equal(accepted.message.message_id, key);
assert.equal(accepted.contract?.state, "accepted");

// A file part is typed `string`; `bodySerializer` makes the form, and the parts have the fields' names.
const brief = "Two videos, live by 1 March.\n";
const upload = await company.POST("/v1/rooms/{room_id}/messages", {
  ...room,
  body: { message: JSON.stringify({ content: "The brief" } satisfies Schemas["MessageInput"]), attachment: brief },
  bodySerializer: (body) => {
    const form = new FormData();
    assert("message" in body && body.attachment);
    form.set("message", body.message);
    form.set("attachment", new Blob([body.attachment], { type: "text/plain" }), "brief.txt");
    return form;
  },
});
assert.equal(upload.response.status, 201);
const file = (await expect("new_message")).message.attachment;
assert(file);
assert.deepEqual([file.name, file.size], ["brief.txt", brief.length]);
assert.equal(await (await fetch(new URL(file.link, baseUrl))).text(), brief);

const detailed = ok(await creator.GET("/v1/rooms/{room_id}", room));
assert.deepEqual(detailed.messages.map((message) => message.content), ["Hi!", "Terms.", "Deal!", "The brief"]);
assert.equal(detailed.contracts[0]?.state, "accepted");
console.log(`typescript: ${detailed.messages.length} messages, accepted at ${accepted.contract.payout}, ` +
  `uploaded ${file.name}, 4 events, refused with ${problem.code}`);
process.exit();
