/**
 * A loader that gives `React.createElement`, which is called about a thousand times, a name in each
 * module that can be made one letter long.
 */
module.exports = source => {
  const short = source.replaceAll('React.createElement(', 'createReactElement(');
  return short === source ? source : `const createReactElement = React.createElement;\n${short}`;
};
