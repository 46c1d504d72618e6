/**
 * A loader that gives what each view calls of React about a thousand times a name in each module
 * that can be made one letter long.
 */
const SHORT = { createReactElement: 'React.createElement', ReactFragment: 'React.Fragment' };

module.exports = source =>
  Object.entries(SHORT).reduce((text, [name, long]) => {
    const short = text.replaceAll(new RegExp(`${long.replace('.', '\\.')}(?=[(,])`, 'g'), name);
    return short === text ? text : `const ${name} = ${long};\n${short}`;
  }, source);
