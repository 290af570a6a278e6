import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { fileURLToPath } from 'node:url';
import react from '@vitejs/plugin-react';
import { stringifyDocument } from '@urql/core';
import type { DocumentNode } from 'graphql';
import { type Plugin, runnerImport } from 'vite';
import { defineConfig } from 'vitest/config';

const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/**
 * Writes a .br and a .gz file beside each file of text, so that the server compresses nothing itself. It reads what was
 * written: before that, Vite still changes the code of chunks.
 */
function compressed(): Plugin {
  return {
    name: 'compressed',
    apply: 'build',
    writeBundle({ dir = '' }, bundle) {
      for (const name of Object.keys(bundle).filter((name) => /\.(js|css|svg|ttf)$/.test(name))) {
        const file = join(dir, name);
        const content = readFileSync(file);
        writeFileSync(`${file}.br`, brotliCompressSync(content));
        writeFileSync(`${file}.gz`, gzipSync(content, { level: 9 }));
      }
    },
  };
}

/**
 * Writes the operations of the board as a list of trusted documents, by their hashes. A server that accepts trusted
 * documents only accepts these too. They are the texts that urql and the subscriptions send.
 */
function trustedDocuments(): Plugin {
  return {
    name: 'trusted-documents',
    apply: 'build',
    async writeBundle({ dir = '' }) {
      const { module } = await runnerImport<Record<string, DocumentNode>>(path('src/gql/graphql.ts'));
      const texts = Object.entries(module)
        .filter(([name]) => name.endsWith('Document'))
        .map(([, document]) => stringifyDocument(document));
      const byHash = texts.map((text) => [createHash('sha256').update(text).digest('hex'), text] as const);
      writeFileSync(join(dir, 'trusted-documents.json'), JSON.stringify(Object.fromEntries(byHash), null, 1));
    },
  };
}

export default defineConfig({
  plugins: [react(), compressed(), trustedDocuments()],
  // The server sets <base href>, so that the pages work below any path.
  base: './',
  resolve: {
    alias: {
      '@': path('src'),
      // @rjsf/core has a helper for tests that needs a validator which compiles schemas. Ours takes its place.
      '@rjsf/validator-ajv8': path('src/pages/create/validator.ts'),
    },
  },
  build: {
    outDir: path('../gql_api/web'),
    emptyOutDir: true,
    target: 'es2022',
    // The first versions with light-dark(): what takes its place for older ones finds none of Mantine's colour schemes.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    modulePreload: { polyfill: false },
    // The Content-Security-Policy has no data: for scripts and workers.
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 5000,
    rolldownOptions: {
      input: { board: path('board.html'), playground: path('playground.html') },
      // "use no memo" is for a compiler that has run before these packages were published.
      onLog: (level, log, print) => {
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') print(level, log);
      },
    },
  },
  server: { proxy: { '/graphql': { target: 'http://127.0.0.1:8000', ws: true } } },
  test: {
    environment: 'jsdom',
    setupFiles: ['src/test/setup.ts'],
    include: ['src/**/*.test.{ts,tsx}'],
    // They import files without the extension that Node.js needs, and a package that an alias stands for.
    server: { deps: { inline: ['@rjsf/core', '@rjsf/mantine'] } },
    // Two workers suit two cores.
    maxWorkers: 2,
  },
});
