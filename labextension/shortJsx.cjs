/**
 * A loader that gives what each view calls of React about a thousand times a name in each module
 * that can be made one letter long, and says which class an element has in few letters.
 */
const { join } = require('node:path');

const SHORT = { createReactElement: 'React.createElement', ReactFragment: 'React.Fragment' };
const ELEMENT = JSON.stringify(join(module.path, '..', 'lib', 'element.js'));

const WITH_CLASS =
  /React\.createElement\("(\w+)", \{ className: "jp-Element([\w -]+)"(?:, | (?=\}))/g;

module.exports = function (source) {
  if (this.resourcePath.endsWith('element.js')) {
    return source;
  }
  const classed = source
    .replace(WITH_CLASS, 'createElementOf("$1.$2", { ')
    .replace(/(createElementOf\("[^"]*", )\{ \}/g, '$1null');
  const text =
    classed === source
      ? source
      : `import { element as createElementOf } from ${ELEMENT};\n${classed}`;
  return Object.entries(SHORT).reduce((text, [name, long]) => {
    const short = text.replaceAll(new RegExp(`${long.replace('.', '\\.')}(?=[(,])`, 'g'), name);
    return short === text ? text : `const ${name} = ${long};\n${short}`;
  }, text);
};
