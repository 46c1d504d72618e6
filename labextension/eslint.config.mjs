import eslint from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import tseslint from 'typescript-eslint';

const strict = Object.fromEntries(
  [
    'plugin-activation-args',
    'plugin-description',
    'plugin-id-convention',
    'command-id-convention',
    'command-described-by',
    'token-format',
    'no-untranslated-string',
    'no-dynamic-translation',
    'no-translation-concatenation',
    'incorrect-translator-usage',
    'no-schema-enum',
    'no-pageconfig-base-url',
    'require-signal-cleanup',
    'require-disposable-ownership',
    'prefer-lazy-imports'
  ].map(rule => [`jupyter/${rule}`, 'error'])
);

export default tseslint.config(
  { ignores: ['labextension/src/api/*schema.ts'] },
  eslint.configs.recommended,
  tseslint.configs.recommended,
  {
    files: ['labextension/src/**/*.ts', 'labextension/src/**/*.tsx'],
    plugins: { jupyter },
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      ...strict,
      curly: 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      // a command's ids live in a namespace of that name, as in JupyterLab itself
      '@typescript-eslint/no-namespace': 'off',
      // a token and its interface share one name
      '@typescript-eslint/no-redeclare': 'off'
    }
  },
  {
    // the control plane's pages: browsers load them as they are
    files: ['element_jupyter/service/pages/static/**/*.js'],
    rules: {
      curly: 'error',
      eqeqeq: 'error',
      'no-console': 'error',
      // tsc knows the names of a browser
      'no-undef': 'off'
    }
  },
  {
    files: ['labextension/**/*.cjs'],
    rules: { '@typescript-eslint/no-require-imports': 'off' },
    languageOptions: {
      globals: {
        module: 'writable',
        require: 'readonly',
        globalThis: 'readonly',
        MouseEvent: 'readonly',
        navigator: 'readonly',
        setTimeout: 'readonly'
      }
    }
  }
);
