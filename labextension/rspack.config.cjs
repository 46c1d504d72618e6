/**
 * What the builder of JupyterLab does not do by itself: styles are shipped without their comments
 * and spaces, and what several lazily loaded views use is shipped once.
 */
module.exports = {
  module: {
    rules: [
      {
        test: /\.css$/,
        enforce: 'pre',
        loader: 'builtin:lightningcss-loader',
        options: { minify: true, errorRecovery: false }
      }
    ]
  },
  optimization: {
    splitChunks: { chunks: 'async', minSize: 1_000, minChunks: 2 }
  }
};
