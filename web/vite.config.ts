/** Two files of one build: page.js of index.html, and bilayer.js, the module that it and other pages import. */

import { defineConfig, type Plugin } from "vite";

const MODULE = "../bilayer.js";

/** Shader and schema without what is said in them to people: what changes there changes nothing here. */
const slim: Plugin = {
  name: "slim",
  enforce: "pre",
  transform(code, id) {
    if (id.includes("frame.wgsl")) return code.replace(/ *\/\/[^"\\]*?(?=\\n|")/g, "").replace(/(\\n)+/g, "\\n");
    if (!id.endsWith("avatar.schema.json")) return null;
    return JSON.stringify(JSON.parse(code, (key, value) => (["description", "title"].includes(key) ? undefined : value)));
  },
};

export default defineConfig({
  base: "./", // works from any folder of any host
  plugins: [slim],
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
