// The token of a server: what lets a reader in stays in the tab, and out of addresses.

import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, keptInTab, Server, withoutToken, type Kept } from "../src/server.ts";

/** A tab at an address, and what it keeps. */
function tabAt(href: string, isKeeping = true): { location: Location; history: History; kept: Kept; now: () => string } {
  let [now, token] = [href, null as string | null];
  const location = { get href() { return now; }, get search() { return new URL(now).search; } } as Location;
  const history = { replaceState: (_state: unknown, _title: string, to: string) => void (now = new URL(to, now).href) } as unknown as History;
  const kept = { get: () => token, set: (given: string) => (isKeeping && (token = given), isKeeping) };
  return { location, history, kept, now: () => now };
}

/** The tokens that requests had, while `act` runs; the server knows a code. */
async function tokensOf(act: () => Promise<void>): Promise<(string | undefined)[]> {
  const before = globalThis.fetch;
  const tokens: (string | undefined)[] = [];
  globalThis.fetch = async (path, options) => {
    tokens.push((options?.headers as Record<string, string>)["Authorization"]);
    return new Response(JSON.stringify(path === "api/open" ? { token: "secret" } : { recordings: [], models: [], max_text: 1 }));
  };
  await act().finally(() => (globalThis.fetch = before));
  return tokens;
}

test("the token leaves the address and is there when the page is loaded again", async () => {
  const tab = tabAt("http://127.0.0.1:8765/?token=secret&recording=f1#kind=cross");
  const tokens = await tokensOf(async () => {
    await (await Server.of(tab.location, tab.history, tab.kept)).about();
    assert.equal(tab.now(), "http://127.0.0.1:8765/?recording=f1#kind=cross");
    await (await Server.of(tab.location, tab.history, tab.kept)).about();
    assert.equal(addressOf("f0", tab.location), "?recording=f0");
  });
  assert.deepEqual(tokens, ["Bearer secret", "Bearer secret"]);
});

test("a code is exchanged once, and neither it nor the token stays in the address", async () => {
  const tab = tabAt("http://127.0.0.1:8765/?open=code");
  const tokens = await tokensOf(async () => {
    await (await Server.of(tab.location, tab.history, tab.kept)).about();
    await (await Server.of(tab.location, tab.history, tab.kept)).about();
  });
  assert.deepEqual([tokens, tab.now()], [["Bearer ", "Bearer secret", "Bearer secret"], "http://127.0.0.1:8765/"]);
});

test("where a tab may keep nothing the address keeps the token, and a copied link leaves it out", async () => {
  const tab = tabAt("http://127.0.0.1:8765/?token=secret&recording=f1", false);
  await tokensOf(async () => void (await Server.of(tab.location, tab.history, tab.kept)));
  assert.match(tab.now(), /token=secret/);
  assert.equal(withoutToken(tab.now()), "http://127.0.0.1:8765/?recording=f1");
  const forbidding = { location: { pathname: "/" } as Location, window: { get sessionStorage(): Storage { throw new Error("forbidden"); } } };
  assert.deepEqual([keptInTab(forbidding).get(), keptInTab(forbidding).set("secret")], [null, false]);
});

test("an address without a token stays as it is", () => {
  for (const href of ["file:///tmp/a%20page.html?x=1%2C2&y", "about:srcdoc", "https://example.org/run.html"]) assert.equal(withoutToken(href), href);
});
