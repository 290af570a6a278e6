import type { CodegenConfig } from '@graphql-codegen/cli';

const config: CodegenConfig = {
  schema: '../schema.graphql',
  documents: ['src/**/*.{ts,tsx}', '!src/gql/**'],
  ignoreNoDocuments: true,
  generates: {
    './src/gql/': {
      preset: 'client',
      presetConfig: { fragmentMasking: false },
      config: {
        useTypeImports: true,
        enumsAsTypes: true,
        // The text of a DateTime; JSON is selected with asText, so that numbers keep their digits.
        scalars: { DateTime: 'string', JSON: 'unknown' },
        avoidOptionals: { field: true },
      },
    },
  },
};

export default config;
