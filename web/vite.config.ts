/** Three files of one build: page.js of index.html; bilayer.js, the module that it and other pages import; its worker. */

import { defineConfig, type Plugin } from "vite";

const MODULE = "../bilayer.js";

const SCHEMA = "./avatar.schema.json"; // Python's own, beside bilayer.js: what changes in it changes nothing here

/** A browser takes JSON for a module where the import says so; rolldown leaves that out. */
const jsonImport: Plugin = {
  name: "json-import",
  generateBundle(_, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type === "chunk") chunk.code = chunk.code.replace(`from"${SCHEMA}"`, `from"${SCHEMA}"with{type:"json"}`);
    }
  },
};

/** The shader without what is said in it to people: what changes there changes nothing here. */
const slim: Plugin = {
  name: "slim",
  enforce: "pre",
  transform: (code, id) =>
    id.includes("frame.wgsl") ? code.replace(/ *\/\/[^"\\]*?(?=\\n|")/g, "").replace(/(\\n)+/g, "\\n") : null,
};

export default defineConfig({
  base: "./", // works from any folder of any host
  plugins: [slim, jsonImport],
  build: {
    outDir: "../runtime/web/page",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    rolldownOptions: {
      input: { page: "index.html", bilayer: "src/bilayer.ts", litert: "src/litert/worker.ts" },
      external: [MODULE, /avatar\.schema\.json$/],
      preserveEntrySignatures: "strict",
      output: {
        paths: (id) => `./${id.split("/").pop()}`,
        entryFileNames: "[name].js",
        assetFileNames: "[name][extname]",
      },
    },
  },
});
