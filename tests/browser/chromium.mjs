// Debian's Chromium by its path, driven by playwright-core.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PATHS = [process.env.CHROMIUM_BIN, "/usr/bin/chromium", "/usr/bin/chromium-browser"].filter(Boolean);

/** The browser's path, or null where none is installed (`apt install chromium`). */
export const chromiumPath = PATHS.find((path) => existsSync(path)) ?? null;

/** What a test says when it cannot run. */
export const skip = chromiumPath === null ? "no Chromium: apt install chromium" : false;

export function launch() {
  return chromium.launch({
    executablePath: chromiumPath,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    ],
  });
}
