/// <reference types="vitest/config" />
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

/** Where `npm run dev` finds the service. */
const SERVICE = process.env.EMBEDSTORE_SERVICE ?? "http://127.0.0.1:8765";

export default defineConfig({
  plugins: [svelte()],
  build: {
    outDir: "../embedstore/service/page",
    emptyOutDir: true,
    license: { fileName: "licenses.md" }, // of what is bundled
    assetsInlineLimit: 0, // the content security policy allows no script or style inside of HTML
    modulePreload: { polyfill: false },
    target: "es2022",
  },
  server: { proxy: { "/api": SERVICE } },
  test: { include: ["src/**/*.test.ts"] },
});
