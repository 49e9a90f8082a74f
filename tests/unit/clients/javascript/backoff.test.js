// The waits of the JavaScript client before its retries.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { Backoff } from "../../../../clients/javascript/client/backoff.js";
import { Pause } from "../../../../clients/javascript/client/pause.js";

const FIRST_MS = 100; // of a pause
const CAP_MS = 2000;

afterEach(() => mock.reset());

for (const random of [0, 0.25, 0.999])
  test(`a wait is a share of a bound that doubles up to the cap, and begins anew: ${random}`, () => {
    mock.method(Math, "random", () => random);
    const backoff = new Backoff(500, 10_000);
    const bounds = [500, 1000, 2000, 4000, 8000, 10_000, 10_000];
    assert.deepEqual(bounds.map(() => backoff.next()), bounds.map((bound) => random * bound));
    backoff.reset();
    assert.equal(backoff.next(), random * 500);
  });

test("a thousand clients that lost one server at once come back spread over the bound", () => {
  const tenths = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 1000; i++) tenths[Math.floor(new Backoff(500, 10_000).next() / 50)] += 1;
  for (const came of tenths) assert.ok(came > 40 && came < 160, tenths.join()); // 100 each, but for chance
});

test("a pause is one however often it begins, grows with each, and begins anew after a quiet time", () => {
  mock.method(Math, "random", () => 1);
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1e12 });
  const over = mock.fn();
  const pause = new Pause(over);
  for (const ms of [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]) {
    pause.begin();
    pause.begin();
    mock.timers.tick(ms - 1);
    assert.ok(pause.isOn);
    mock.timers.tick(1);
    assert.ok(!pause.isOn);
  }
  assert.equal(over.mock.callCount(), 3);
  mock.timers.tick(2 * CAP_MS + 1);
  pause.begin();
  mock.timers.tick(FIRST_MS);
  assert.equal(over.mock.callCount(), 4);
});

test("a pause that is ended is over once; one that is stopped never, and none begins again", () => {
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1e12 });
  const over = mock.fn();
  const pause = new Pause(over);
  pause.begin();
  pause.end();
  mock.timers.tick(CAP_MS);
  assert.equal(over.mock.callCount(), 1);
  pause.begin();
  pause.stop();
  pause.begin();
  mock.timers.tick(CAP_MS);
  assert.ok(!pause.isOn);
  assert.equal(over.mock.callCount(), 1);
});
