// SPDX-License-Identifier: BSD-3-Clause
// node build.mjs SOURCES FOLDER, where node_modules is: the page, to be served from FOLDER.
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const [here, folder] = process.argv.slice(2);
const modules = join(process.cwd(), 'node_modules');

// Editors of queries, which a dashboard that is looked at does not open.
const unused = {
  name: 'unused',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(@grafana\/assistant|monaco-editor|react-monaco-editor|monaco-promql)(\/|$)/ }, ({ path }) => ({ path, namespace: 'unused' }));
    onLoad({ filter: /./, namespace: 'unused' }, () => ({ contents: 'module.exports = { promLanguageDefinition: {} }' }));
  },
};

await build({
  alias: { '@grafana/plugin-compat/datasources': join(here, 'compat.js'), 'react-router-dom-v5-compat': 'react-router-dom' },
  entryPoints: [join(here, 'main.jsx')], outdir: folder, bundle: true, format: 'esm', splitting: true, jsx: 'automatic', nodePaths: [modules], logLevel: 'error', plugins: [unused],
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.woff': 'file', '.woff2': 'file', '.svg': 'dataurl', '.png': 'dataurl' },
});
mkdirSync(join(folder, 'public/build/img'), { recursive: true });
cpSync(join(modules, '@grafana/ui/dist/public/img/icons'), join(folder, 'public/build/img/icons'), { recursive: true });
writeFileSync(join(folder, 'index.html'), '<!doctype html><html><head><meta charset="utf-8"><title>Vireo</title><link rel="stylesheet" href="main.css"></head>'
  + '<body style="margin: 0; padding: 0 16px"><div id="main"></div><script type="module" src="main.js"></script></body></html>\n');
