module.exports = {
  rootDir: '..',
  roots: ['<rootDir>/labextension'],
  testMatch: ['<rootDir>/labextension/test/**/*.spec.ts'],
  testEnvironment: 'node',
  setupFiles: ['<rootDir>/labextension/test/browser.cjs'],
  // JupyterLab, and what it stands on, ship ES modules only
  transformIgnorePatterns: [],
  transform: {
    '\\.[jt]sx?$': ['ts-jest', { tsconfig: '<rootDir>/labextension/tsconfig.test.json' }]
  },
  moduleNameMapper: { '\\.svg$': '<rootDir>/labextension/test/drawing.cjs' },
  modulePathIgnorePatterns: ['<rootDir>/lib', '<rootDir>/element_jupyter', '<rootDir>/build']
};
