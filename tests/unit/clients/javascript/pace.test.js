// The pace of the JavaScript client: the bucket, and the pauses after refusals.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { Age } from "../../../../clients/javascript/client/age.js";
import { Bucket, Pace } from "../../../../clients/javascript/client/pace.js";

const FIRST_MS = 100; // of a pause
const CAP_MS = 2000;

afterEach(() => {
  mock.timers.reset();
  mock.reset();
});

/** Let a test move the clocks; return what moves them. */
function clocks() {
  let now = 1e6;
  mock.method(performance, "now", () => now);
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: 1e12 });
  return (ms) => {
    for (const end = now + ms; now < end; ) {
      now = Math.min(end, now + 1);
      mock.timers.tick(1);
    }
  };
}

test("a bucket holds half of the burst, keeps a tenth for requests, and refills with 95 % of the rate", () => {
  const bucket = new Bucket(100, 160, 0);
  for (let i = 0; i < 72; i++) assert.equal(bucket.take(0, true), 0);
  assert.ok(bucket.take(0, true) > 0);
  for (let i = 0; i < 8; i++) assert.equal(bucket.take(0, false), 0);
  assert.ok(Math.abs(bucket.take(0, false) - 1000 / 95) < 1e-6);
  assert.ok(Math.abs(bucket.take(0, true) - 9000 / 95) < 1e-6);
  assert.equal(bucket.take(1000 / 95 + 0.001, false), 0);
  for (let i = 0; i < 80; i++) assert.equal(bucket.take(1e9, false), 0); // it holds no more than that
  assert.ok(bucket.take(1e9, false) > 0);
});

for (const burst of [1, 2.1, 3])
  test(`a bucket of a burst of ${burst} lets messages through`, () => {
    assert.equal(new Bucket(1, burst, 0).take(0, true), 0);
  });

test("the pace stays within the limits, with requests before messages, and asks to send again in time", () => {
  const tick = clocks();
  const sent = [];
  const pace = new Pace(() => {
    while (sent.length < 200 && pace.take({ message: true })) sent.push(performance.now());
  });
  pace.begin({ messagesPerSecond: 100, burstMessages: 32 });
  assert.equal(sent.length, 14); // 16 but for the tenth, and the fraction of one
  assert.ok(!pace.take({ message: true }));
  assert.ok(pace.take());
  assert.ok(!pace.take({ message: true }));
  tick(1000);
  assert.ok(sent.length > 100 && sent.length < 110, `${sent.length}`);
  tick(10_000);
  assert.equal(sent.length, 200);
});

test("no message overtakes one that waits, although the bucket has enough for it before the timer fires", () => {
  const tick = clocks();
  const pace = new Pace(() => {});
  pace.begin({ messagesPerSecond: 1000, burstMessages: 2 });
  assert.deepEqual([pace.take({ message: true }), pace.take({ message: true })], [true, false]);
  tick(5);
  assert.ok(!pace.take({ message: true }));
  assert.ok(pace.take());
});

for (const [code, left] of [["rate_limited", false], ["unavailable", true]])
  test(`a frame that was refused as ${code} empties the bucket: ${!left}`, () => {
    const tick = clocks();
    const pace = new Pace(() => {});
    pace.begin({ messagesPerSecond: 0.001, burstMessages: 200 });
    pace.pause({ code });
    tick(CAP_MS);
    assert.equal(pace.take(), left);
  });

test("a pause is one however often it begins, grows with each, and begins anew after a quiet time", () => {
  const tick = clocks();
  mock.method(Math, "random", () => 1);
  const over = mock.fn();
  const pace = new Pace(over);
  for (const ms of [FIRST_MS, 2 * FIRST_MS, 4 * FIRST_MS]) {
    pace.pause();
    pace.pause();
    tick(ms - 1);
    assert.ok(!pace.take());
    tick(1);
    assert.ok(pace.take());
  }
  assert.equal(over.mock.callCount(), 3);
  tick(2 * CAP_MS + 1);
  pace.pause();
  tick(FIRST_MS);
  assert.equal(over.mock.callCount(), 4);
});

test("a pause lasts at least as long as the longest time that refusals told", () => {
  const tick = clocks();
  const pace = new Pace(() => {});
  pace.pause({ code: "rate_limited", retryAfterMs: 700 });
  pace.pause({ code: "rate_limited", retryAfterMs: 5000 });
  pace.pause({ code: "rate_limited", retryAfterMs: 10 });
  tick(4999);
  assert.ok(!pace.take());
  tick(1 + FIRST_MS);
  assert.ok(pace.take());
});

test("a time beyond the longest timer does not end the pause at once", () => {
  const tick = clocks();
  const pace = new Pace(() => {});
  pace.pause({ code: "rate_limited", retryAfterMs: 1e12 });
  tick(1000);
  assert.ok(!pace.take());
});

test("a new connection ends a pause once; a pace that is stopped begins none", () => {
  const tick = clocks();
  const over = mock.fn();
  const pace = new Pace(over);
  pace.pause();
  pace.begin(undefined);
  tick(CAP_MS);
  assert.equal(over.mock.callCount(), 1);
  pace.pause();
  pace.stop();
  pace.pause();
  tick(CAP_MS);
  assert.ok(!pace.take());
  assert.equal(over.mock.callCount(), 1);
});

for (const [wall, monotonic, age] of [[5, 5, 5], [60, 5, 60], [-60, 5, 5], [5, 60, 60]])
  test(`an age is what the clock says that has gone further: ${wall} and ${monotonic}`, () => {
    let [date, now] = [1e12, 1e6];
    mock.method(Date, "now", () => date);
    mock.method(performance, "now", () => now);
    const one = new Age();
    date += wall;
    now += monotonic;
    assert.equal(one.ms, age);
  });
