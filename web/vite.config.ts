/** Two files of one build: page.js of index.html, and bilayer.js, the module that it and other pages import. */

import { defineConfig } from "vite";

const MODULE = "../bilayer.js";

export default defineConfig({
  base: "./", // works from any folder of any host
  build: {
    outDir: "../runtime/web/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: { page: "index.html", bilayer: "src/bilayer.ts" },
      external: [MODULE],
      preserveEntrySignatures: "strict",
      output: {
        paths: (id) => (id.endsWith("/bilayer.js") ? "./bilayer.js" : id),
        entryFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
