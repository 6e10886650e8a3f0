import assert from "node:assert/strict";
import { test } from "node:test";
import { ProtocolError, decode, encode, isPing, isResent, readError } from "../protocol.js";
import { uuidv7 } from "../uuid.js";

test("commands and replies are objects a line", () => {
  assert.equal(encode([{ id: 1 }, {}]), '{"id":1}\n{}');
  assert.deepEqual(decode('{"id":1}\n\n{}\n'), [{ id: 1 }, {}]);
  for (const bad of ["[]", "1", "null", "{", '{"id":1}x']) assert.throws(() => decode(bad), ProtocolError, bad);
});

test("an empty object is a ping", () => {
  assert.equal(isPing({}), true);
  assert.equal(isPing({ id: 1 }), false);
});

test("an error is read into its code name and what was said", () => {
  assert.deepEqual(readError({ code: 1010, message: "TASK_NOT_FOUND: no task x", temporary: false }),
    { code: 1010, name: "TASK_NOT_FOUND", message: "no task x", temporary: false });
  assert.deepEqual(readError({ code: 100, message: "internal server error", temporary: true }),
    { code: 100, name: null, message: "internal server error", temporary: true });
  assert.deepEqual(readError({}), { code: 0, name: null, message: "", temporary: false });
});

test("only what nobody has decided yet is sent again by the page", () => {
  const again = ["OUTCOME_PENDING", "UNAVAILABLE", "NOT_ACTIVE", null];
  const person = ["BUSY", "STORAGE_FULL", "WORKER_DEAD", "SWITCH_TIMEOUT"];
  for (const name of again) assert.equal(isResent({ name, temporary: true }), true, name);
  for (const name of person) assert.equal(isResent({ name, temporary: true }), false, name);
  assert.equal(isResent({ name: null, temporary: false }), false);
  assert.deepEqual([true, false].map((isRead) => isResent({ name: "OUTCOME_UNKNOWN", temporary: false }, isRead)), [true, false], "a read has no outcome");
});

test("a command id is a UUIDv7 of its time", () => {
  assert.equal(uuidv7(0x0123456789ab, new Uint8Array(10).fill(0xff)), "01234567-89ab-7fff-bfff-ffffffffffff");
  assert.match(uuidv7(1_700_000_000_000, new Uint8Array(10)), /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.ok(uuidv7(1, new Uint8Array(10).fill(255)) < uuidv7(2, new Uint8Array(10)));
});
