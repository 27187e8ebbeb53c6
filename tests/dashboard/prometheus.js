// SPDX-License-Identifier: BSD-3-Clause
// What Grafana's server does for its Prometheus data source, which asks by two addresses: queries, and Prometheus's own API.
import { catchError, from, lastValueFrom, throwError } from 'rxjs';

const SCRAPE_MS = 1000; // tests/guest/prometheus.py
const POINTS = 11000; // the most that Prometheus hands over for one series
const NAME = /\{\{\s*([\w.]+)\s*\}\}/g;

function step(intervalMs, fromMs, toMs) {
  return Math.max(intervalMs, SCRAPE_MS, Math.ceil((toMs - fromMs) / POINTS));
}

function filledIn(expr, stepMs, fromMs, toMs) {
  const rate = Math.max(stepMs + SCRAPE_MS, 4 * SCRAPE_MS);
  const values = { __rate_interval: `${rate}ms`, __interval: `${stepMs}ms`, __interval_ms: stepMs, __range: `${Math.round((toMs - fromMs) / 1000)}s` };
  return Object.entries(values).reduce((text, [name, value]) => text.replaceAll(`\${${name}}`, value).replaceAll(`$${name}`, value), expr);
}

function called(labels, legend) {
  if (legend && legend !== '__auto') {
    return legend.replace(NAME, (_, label) => labels[label] ?? '');
  }
  const { __name__: name = '', ...rest } = labels;
  const text = Object.entries(rest).map(([label, value]) => `${label}="${value}"`).join(', ');
  return text ? `${name}{${text}}` : name;
}

function frameOf(series, query) {
  const { metric: labels, values } = series;
  const name = called(labels, query.legendFormat);
  return {
    schema: {
      refId: query.refId,
      name,
      meta: { type: 'timeseries-multi', typeVersion: [0, 1], custom: { resultType: 'matrix' } },
      fields: [
        { name: 'Time', type: 'time', typeInfo: { frame: 'time.Time' } },
        { name: 'Value', type: 'number', typeInfo: { frame: 'float64' }, labels, config: { displayNameFromDS: name } },
      ],
    },
    data: { values: [values.map(([seconds]) => seconds * 1000), values.map(([, value]) => (value === 'NaN' ? null : Number(value)))] },
  };
}

async function asked(base, path, words) {
  const answer = await fetch(`${base}/${path}?${new URLSearchParams(words)}`);
  const said = await answer.json();
  if (said.status !== 'success') {
    throw { status: answer.status, data: { message: said.error } };
  }
  return said;
}

async function queried(base, { queries, from: start, to: end }) {
  const results = {};
  for (const query of queries) {
    const ms = step(query.intervalMs, Number(start), Number(end));
    const on = (time) => (Math.floor(Number(time) / ms) * ms) / 1000;
    const expr = filledIn(query.expr, ms, Number(start), Number(end));
    window.vireo.asked.push(expr);
    const { data } = await asked(base, 'api/v1/query_range', { query: expr, start: on(start), end: on(end), step: ms / 1000 });
    results[query.refId] = { status: 200, frames: data.result.map((series) => frameOf(series, query)) };
  }
  return { results };
}

async function answered(base, { url, data, params }) {
  if (url.startsWith('/api/ds/query')) {
    return queried(base, data);
  }
  const resource = url.match(/\/resources\/(api\/v1\/.+)$/);
  if (!resource) {
    throw { status: 404, data: { message: `not asked of any server here: ${url}` } };
  }
  return asked(base, resource[1], { ...params, ...data });
}

export function backend(base) {
  const observed = (request) =>
    from(answered(base, request).then((data) => ({ data, ok: true, status: 200, headers: new Headers(), url: request.url, config: request }))).pipe(
      catchError((why) => throwError(() => (why instanceof Error ? { status: 500, data: { message: why.message } } : why)))
    );
  const plain = (method) => async (url, words, requestId, options = {}) =>
    (await lastValueFrom(observed({ ...options, method, url, [method === 'GET' ? 'params' : 'data']: words }))).data;
  return { fetch: observed, get: plain('GET'), post: plain('POST'), datasourceRequest: (request) => lastValueFrom(observed(request)) };
}
