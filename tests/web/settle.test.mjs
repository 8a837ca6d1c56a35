// A button that has just appeared takes no click.
import assert from "node:assert/strict";
import test from "node:test";
import { Settling } from "../../web/components/settle.js";

/** A screen that paints, and a clock that goes, when told. */
function stage() {
  const [told, frames, timers] = [[], [], []];
  const clock = { time: 0, now: () => clock.time, painted: (then) => frames.push(then), later: (then, ms) => timers.push([clock.time + ms, then]) };
  const paint = () => frames.splice(0).forEach((it) => it());
  const pass = (ms) => { clock.time += ms; timers.filter(([at]) => at <= clock.time).forEach((it) => { timers.splice(timers.indexOf(it), 1); it[1](); }); };
  return { told, paint, pass, settling: new Settling(1_000, (ripe) => told.push(ripe), clock) };
}

test("the second begins when it can be seen, not when it was drawn", () => {
  const { told, paint, pass, settling } = stage();
  assert.equal(settling.takes(0), true);
  settling.begin();
  pass(60_000);
  assert.deepEqual([told, settling.takes(60_000)], [[false], false], "a slow machine has not painted yet");
  paint();
  pass(999);
  assert.deepEqual([told, settling.takes(60_999)], [[false], false]);
  pass(1);
  assert.deepEqual([told, settling.takes(61_000)], [[false, true], true]);
  assert.equal(settling.takes(60_999), false, "a click that waited in a queue counts from when it was made");
});

test("what changes again begins again, and what is forgotten stays so", () => {
  const { told, paint, pass, settling } = stage();
  settling.begin();
  paint();
  pass(600);
  settling.begin();
  paint();
  pass(600);
  assert.equal(settling.takes(1_200), false);
  pass(400);
  assert.equal(settling.takes(1_600), true);
  settling.begin();
  settling.end();
  paint();
  pass(2_000);
  assert.deepEqual(told, [false, false, true, false, true]);
  assert.equal(settling.takes(3_600), true);
});
