/**
 * A loader that gives private members, whose names begin with `_` here, names of two or three
 * letters: the same in all modules, so that no class sees another's. A name that JupyterLab has
 * too, and we override, is kept; so is what is no member of anything, such as the word `_blank`.
 */
const { readFileSync, readdirSync } = require('node:fs');
const { join } = require('node:path');

const KEPT = new Set(['_checkValidation', '_evtClick', '_evtKeydown']);
const NAMES = /(?<![\w$])_[a-zA-Z]\w{2,}/g;
const LIB = join(module.path, '..', 'lib');

const MEMBERS = /(?<=\.)_[a-zA-Z]\w{2,}/g;
const WORDS = /(?<=['"`])_[a-zA-Z]\w{2,}(?=['"`])/g;

let short;

function table() {
  const counts = new Map();
  const words = new Set();
  for (const file of readdirSync(LIB, { recursive: true }).filter(name => name.endsWith('.js'))) {
    const source = readFileSync(join(LIB, file), 'utf8');
    for (const name of source.match(MEMBERS) ?? []) {
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    (source.match(WORDS) ?? []).forEach(word => words.add(word));
  }
  const names = [...counts.keys()].filter(name => !KEPT.has(name));
  const both = names.find(name => words.has(name));
  if (both) {
    throw new Error(
      `${both} is a private member and a word in quotes; name one of them otherwise.`
    );
  }
  names.sort((one, other) => counts.get(other) - counts.get(one) || (one < other ? -1 : 1));
  return new Map(names.map((name, at) => [name, `$${at.toString(36)}`]));
}

module.exports = function (source) {
  if (this.mode !== 'production') {
    return source;
  }
  short ??= table();
  return source.replace(NAMES, name => short.get(name) ?? name);
};
