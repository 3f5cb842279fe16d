// What a page with a server says of its recordings.

import assert from "node:assert/strict";
import { test } from "node:test";
import { beyondSaid } from "../src/runs.ts";

test("files of folders that are not listed are counted, and how they are opened is said", () => {
  const listed = [false, true, false].map((run, place) => ({ id: String(place), name: "", run }));
  assert.equal(beyondSaid({ recordings: listed, beyond: 0 }), "");
  assert.equal(beyondSaid({ recordings: listed, beyond: 5 }), "the first 2 of 7 files are listed; “attlas view FILE” opens any other");
});
