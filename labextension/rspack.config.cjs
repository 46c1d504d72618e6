/**
 * What the builder of JupyterLab does not do by itself: styles are shipped as one text, without their
 * comments and spaces and without a loader's code, what several lazily loaded views use is shipped
 * once and together, and modules, exports, calls of React and private members have short names.
 */
const { Compilation, SwcJsMinimizerRspackPlugin, sources } = require('@rspack/core');

/** What the table of shared modules says of each of them, and is so if it is not said. */
const UNSAID = /,(?:import:null|(?:strictVersion|eager):!1|fallback:void 0|treeShakingMode:null)/g;

/** Leaves out of the entry what goes without saying. */
class ShortEntry {
  apply(compiler) {
    compiler.hooks.thisCompilation.tap('ShortEntry', compilation => {
      const stage = Compilation.PROCESS_ASSETS_STAGE_OPTIMIZE_SIZE + 1;
      compilation.hooks.processAssets.tap({ name: 'ShortEntry', stage }, assets => {
        for (const name of Object.keys(assets).filter(each => each.startsWith('remoteEntry'))) {
          compilation.updateAsset(
            name,
            old => new sources.RawSource(String(old.source()).replace(UNSAID, ''))
          );
        }
      });
    });
  }
}

module.exports = {
  // each chunk says the one twice, and is named with the other
  output: {
    chunkLoadingGlobal: 'elementChunks',
    chunkFilename: '[contenthash].js',
    hashDigestLength: 10
  },
  plugins: [new ShortEntry()],
  module: {
    rules: [
      {
        test: /[\\/]lib[\\/].*\.js$/,
        exclude: /node_modules/,
        use: [require.resolve('./shortPrivate.cjs'), require.resolve('./shortJsx.cjs')]
      },
      {
        // JupyterLab's builder hands `.raw.css` on as a text
        test: /\.raw\.css$/,
        enforce: 'pre',
        use: [
          {
            loader: 'builtin:lightningcss-loader',
            options: { minify: true, errorRecovery: false }
          },
          require.resolve('./oneStyle.cjs')
        ]
      }
    ]
  },
  optimization: {
    chunkIds: 'natural',
    moduleIds: 'natural',
    mangleExports: 'size',
    minimizer: [
      new SwcJsMinimizerRspackPlugin({
        minimizerOptions: {
          ecma: 2021,
          compress: { ecma: 2021, passes: 3, unsafe_arrows: true, unsafe_methods: true }
        }
      })
    ],
    splitChunks: {
      chunks: 'async',
      minSize: 0,
      cacheGroups: {
        default: false,
        defaultVendors: false,
        shared: { name: 'shared', minChunks: 2 }
      }
    }
  }
};
