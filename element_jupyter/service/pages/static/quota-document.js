/** Changes of the quotas as a document, as `quotas.yaml` says them. */

/**
 * @typedef {{ who: string, kind: string, resource: string, per: string, until: string }} Thing
 *   What can be said once; `per` and `until` are empty where there is none.
 * @typedef {number | 'unlimited'} Amount in the document's own unit
 * @typedef {{ timezone?: string, contact?: string, quotas: any[] }} Quotas
 */

const GIB = 2 ** 30;

/** The amount that was typed, in the document's own unit. @param {string} resource @param {number} typed */
export function inBytes(resource, typed) {
  return resource.endsWith('_bytes') ? Math.round(typed * GIB) : typed;
}

/** Set a limit, be it there or not. @param {Quotas} quotas @param {Thing} thing @param {Amount} amount @param {string} [reason] */
export function set(quotas, thing, amount, reason = '') {
  const found = quotas.quotas.find(quota => sameSubject(quota, thing) && holder(quota, thing));
  if (found) {
    const place = holder(found, thing);
    place[thing.resource] = amount;
    if (reason) {
      found.reason = reason;
    }
    return;
  }
  let quota = quotas.quotas.find(
    each => sameSubject(each, thing) && (each.reason ?? '') === reason
  );
  if (!quota) {
    quota = { who: thing.who };
    if (thing.until) {
      quota.until = thing.until;
    }
    if (reason) {
      quota.reason = reason;
    }
    quotas.quotas.push(quota);
  }
  if (thing.kind === 'storage') {
    quota[thing.resource] = amount;
  } else if (thing.kind === 'budget') {
    quota.budgets ??= [];
    quota.budgets.push({ per: thing.per, [thing.resource]: amount });
  } else {
    quota[thing.kind] ??= {};
    quota[thing.kind][thing.resource] = amount;
  }
}

/** Take a limit away. @param {Quotas} quotas @param {Thing} thing */
export function remove(quotas, thing) {
  const quota = quotas.quotas.find(each => sameSubject(each, thing) && holder(each, thing));
  if (!quota) {
    return;
  }
  delete holder(quota, thing)[thing.resource];
  for (const kind of ['largest', 'at_once']) {
    if (quota[kind] && !Object.values(quota[kind]).some(isSaid)) {
      delete quota[kind];
    }
  }
  quota.budgets = (quota.budgets ?? []).filter((/** @type {any} */ budget) =>
    Object.entries(budget).some(
      ([name, value]) => !['per', 'timezone', 'then', 'grace'].includes(name) && isSaid(value)
    )
  );
  if (quota.budgets.length === 0) {
    delete quota.budgets;
  }
  const isEmpty =
    !quota.largest && !quota.at_once && !quota.budgets && !isSaid(quota.storage_bytes);
  if (isEmpty) {
    quotas.quotas.splice(quotas.quotas.indexOf(quota), 1);
  }
}

/** @param {any} quota @param {Thing} thing */
function sameSubject(quota, thing) {
  return quota.who === thing.who && (quota.until ?? '') === thing.until;
}

/** The part of a subject's limits that says this one. @param {any} quota @param {Thing} thing @returns {any} */
function holder(quota, thing) {
  const places =
    thing.kind === 'storage'
      ? [quota]
      : thing.kind === 'budget'
        ? (quota.budgets ?? []).filter((/** @type {any} */ each) => each.per === thing.per)
        : [quota[thing.kind] ?? {}];
  return places.find((/** @type {any} */ each) => isSaid(each[thing.resource]));
}

/** @param {unknown} value */
function isSaid(value) {
  return value !== undefined && value !== null;
}
