/** The REST interface, asked in the name of who has signed in; and what it answers to people. */

const PAGES = '/services/element/';
const API = `${PAGES}api/v1`;

/** What the REST interface refuses, in its own words. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {{ message?: string, hint?: string, field?: string | null, details?: string }} problem
   */
  constructor(status, problem) {
    super(problem.message ?? 'The control plane does not answer.');
    this.status = status;
    this.hint = problem.hint ?? '';
    this.field = problem.field ?? null;
    this.problem = problem;
  }
}

/**
 * Ask the REST interface; a refusal is thrown as `Refusal`, whose status is 0 where nothing answers.
 *
 * @param {string} path below `/api/v1`
 * @param {{ method?: string, body?: unknown, headers?: Record<string, string> }} [asked]
 * @returns {Promise<{ value: any, etag: string }>}
 */
export function ask(path, asked = {}) {
  return answered(API + path, asked);
}

/**
 * Ask a page, rather than the REST interface, for something in JSON.
 *
 * @param {string} path below the pages
 * @param {unknown} body
 * @returns {Promise<{ value: any, etag: string }>}
 */
export function askPage(path, body) {
  return answered(PAGES + path, { method: 'POST', body });
}

/**
 * @param {string} address
 * @param {{ method?: string, body?: unknown, headers?: Record<string, string> }} asked
 */
async function answered(address, asked) {
  const xsrf = document.querySelector('meta[name="element-xsrf"]');
  /** @type {Record<string, string>} */
  const headers = { 'X-XSRFToken': xsrf?.getAttribute('content') ?? '', ...asked.headers };
  if (asked.body !== undefined) {
    headers['Content-Type'] = 'application/json';
  }
  let answer;
  try {
    answer = await fetch(address, {
      method: asked.method ?? 'GET',
      headers,
      body: asked.body === undefined ? undefined : JSON.stringify(asked.body),
      credentials: 'same-origin'
    });
  } catch {
    throw new Refusal(0, { hint: 'Try again in a moment.' });
  }
  if (answer.status === 401) {
    // the session has ended; the page is given again once they have signed in
    window.location.reload();
  }
  const isJson = (answer.headers.get('Content-Type') ?? '').includes('json');
  const value = isJson ? await answer.json() : null;
  if (!answer.ok) {
    throw new Refusal(answer.status, value ?? { hint: 'Try again in a moment.' });
  }
  return { value, etag: answer.headers.get('ETag') ?? '' };
}
