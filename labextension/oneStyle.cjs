/**
 * A loader that makes one style sheet of `index.raw.css` and those that it imports, since each sheet
 * that stands alone takes a module and code that puts it into the page.
 */
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

module.exports = function (source) {
  return source.replace(/@import url\('([\w-]+\.css)'\);/g, (_, name) => {
    const file = join(this.context, name);
    this.addDependency(file);
    return readFileSync(file, 'utf8');
  });
};
