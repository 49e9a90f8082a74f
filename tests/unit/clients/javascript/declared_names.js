// The names that index.d.ts declares are those that the JavaScript client has, no fewer and no more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import * as client from "../../../../clients/javascript/index.js";
import ts from "../../../../clients/javascript/node_modules/typescript/lib/typescript.js";

const FILE = fileURLToPath(new URL("../../../../clients/javascript/index.d.ts", import.meta.url));
const program = ts.createProgram([FILE], { module: ts.ModuleKind.NodeNext });
const checker = program.getTypeChecker();
const declared = checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(FILE)));
const classes = declared.filter((symbol) => symbol.flags & ts.SymbolFlags.Value);

const INSTANCES = {
  ChatClient: new client.ChatClient("ws://localhost:8082/", { WebSocket: class {} }),
  ChatError: new client.ChatError("internal", "a fault"),
  OutcomeUnknown: new client.OutcomeUnknown("a ref"),
  Disconnected: new client.Disconnected(1008, "a reason"),
};
const INHERITED = new Set(["constructor", ...Object.getOwnPropertyNames(Error.prototype)]);

/** The public names of an object: its own and those of its class. */
function namesOf(instance) {
  const names = [...Object.keys(instance), ...Object.getOwnPropertyNames(Object.getPrototypeOf(instance))];
  return names.filter((name) => !INHERITED.has(name)).sort();
}

test("the module exports what is declared", () => {
  assert.deepEqual(classes.map(({ name }) => name).sort(), Object.keys(client).sort());
});

for (const { name, members } of classes)
  test(`${name} has the members that are declared`, () => {
    const expected = [...members.keys()].filter((member) => member !== ts.InternalSymbolName.Constructor);
    assert.ok(expected.length > 0);
    assert.deepEqual(namesOf(INSTANCES[name]), expected.sort());
  });
