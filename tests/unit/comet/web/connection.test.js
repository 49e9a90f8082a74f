// The words for a lost connection.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lostBecause } from "../../../../comet/web/connection.js";

for (const host of ["localhost", "chat.localhost", "127.0.0.1", "127.1.2.3", "[::1]"])
  test(`without a network, a server on this machine cannot be reached for another reason: ${host}`, () => {
    assert.equal(lostBecause(1006, false, host), "The server cannot be reached");
  });

for (const host of ["chat.example", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
  test(`without a network one is offline: ${host}`, () => {
    assert.equal(lostBecause(1006, false, host), "You are offline");
    assert.equal(lostBecause(1006, true, host), "The server cannot be reached");
  });

test("the server's own reason is told", () => {
  assert.equal(lostBecause(1012, true, "chat.example"), "The server is restarting");
  assert.equal(lostBecause(1012, false, "localhost"), "The server is restarting");
});
