// The waits of the JavaScript client before its retries.
import assert from "node:assert/strict";
import { afterEach, mock, test } from "node:test";
import { Backoff } from "../../../../clients/javascript/client/backoff.js";

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
