/**
 * What the builder of JupyterLab does not do by itself: styles are shipped as one, without their
 * comments and spaces, what several lazily loaded views use is shipped once, and calls of React and
 * private members have short names.
 */
const { SwcJsMinimizerRspackPlugin } = require('@rspack/core');

module.exports = {
  // each chunk says the one twice, and is named with the other
  output: { chunkLoadingGlobal: 'elementChunks', hashDigestLength: 10 },
  module: {
    rules: [
      {
        test: /[\\/]lib[\\/].*\.js$/,
        exclude: /node_modules/,
        use: [require.resolve('./shortPrivate.cjs'), require.resolve('./shortJsx.cjs')]
      },
      {
        test: /\.css$/,
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
    minimizer: [
      new SwcJsMinimizerRspackPlugin({
        minimizerOptions: {
          ecma: 2021,
          compress: { ecma: 2021, passes: 3, unsafe_arrows: true, unsafe_methods: true }
        }
      })
    ],
    splitChunks: { chunks: 'async', minSize: 500, minChunks: 2 }
  }
};
