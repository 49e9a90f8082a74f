// The page's memory in the browser, where the browser allows it, and where it does not.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../../../../comet/web/storage.js";

/** A Storage with this text in it. */
function storage(text = null) {
  return { text, getItem() { return this.text; }, setItem(_key, text) { this.text = text; } };
}

test("two tabs share what one of them writes", () => {
  const shared = storage();
  const [one, other] = [new Store(() => shared), new Store(() => shared)];
  one.write({ a: 1 });
  other.write({ b: 2 });
  one.write({ c: 3 });
  assert.deepEqual(other.read(), { a: 1, b: 2, c: 3 });
});

const FORBIDDEN = {
  "an access that throws": () => { throw new Error("SecurityError"); },
  "no storage": () => undefined,
  "null": () => null,
  "a full storage": () => ({ getItem: () => null, setItem: () => { throw new Error("QuotaExceededError"); } }),
};
for (const [name, find] of Object.entries(FORBIDDEN))
  test(`a tab remembers by itself: ${name}`, () => {
    const store = new Store(find);
    assert.deepEqual(store.read(), {});
    store.write({ a: 1 });
    store.write({ b: 2 });
    assert.deepEqual(store.read(), { a: 1, b: 2 });
  });

test("what did not fit is written with the next change", () => {
  const full = storage('{"a":1}');
  const { setItem } = full;
  full.setItem = () => { throw new Error("QuotaExceededError"); };
  const store = new Store(() => full);
  store.write({ a: 2 });
  assert.deepEqual(store.read(), { a: 2 });
  full.setItem = setItem;
  store.write({ b: 3 });
  assert.equal(full.text, '{"a":2,"b":3}');
});

for (const text of ["", "null", "7", "[1]", '"text"', "{"])
  test(`what is no object of ours is nothing: ${text}`, () => assert.deepEqual(new Store(() => storage(text)).read(), {}));
