// The subject in Node: asked on its standard input, line by line, until that ends.
import readline from "node:readline";
import { subject } from "./subject.js";

const ask = subject((line) => process.stdout.write(`${line}\n`));
for await (const line of readline.createInterface({ input: process.stdin })) ask(line);
process.exit();
