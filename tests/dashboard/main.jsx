// SPDX-License-Identifier: BSD-3-Clause
// A dashboard's file as Grafana shows it: its scenes, its variables, its Prometheus data source, its panels. ?prometheus=URL says of whom it is asked.
import '@fontsource/inter/latin-400.css';
import '@fontsource/inter/latin-500.css';
import { createTheme, EventBusSrv, LoadingState, ThemeContext, toDataFrame } from '@grafana/data';
import { initPluginTranslations } from '@grafana/i18n';
import { PrometheusDatasource } from '@grafana/prometheus';
import {
  config, setAppEvents, setBackendSrv, setDataSourceSrv, setEchoSrv, setPluginImportUtils, setRunRequest, setTemplateSrv,
} from '@grafana/runtime';
import {
  DataSourceVariable, EmbeddedScene, QueryVariable, SceneControlsSpacer, sceneGraph, SceneGridItem, SceneGridLayout, SceneGridRow, SceneQueryRunner, SceneRefreshPicker,
  SceneTimePicker, SceneTimeRange, SceneVariableSet, VariableValueSelectors, VizPanel,
} from '@grafana/scenes';
import { GlobalStyles } from '@grafana/ui';
import { createRoot } from 'react-dom/client';
import { MemoryRouter } from 'react-router-dom';
import { map } from 'rxjs';
import dashboard from '../../packaging/grafana/vireo.json';
import { panels } from './panels.jsx';
import { backend } from './prometheus.js';

const words = new URLSearchParams(window.location.search);
window.vireo = { asked: [], errors: [] };

function services() {
  config.theme2 = createTheme({ colors: { mode: words.get('theme') ?? 'dark' } });
  config.theme = config.theme2.v1;
  config.panels = Object.fromEntries(Object.entries(panels).map(([id, plugin]) => [id, plugin.meta]));
  config.featureToggles = {};
  config.bootData = { ...config.bootData, user: { ...config.bootData?.user, timezone: 'browser', locale: 'en-GB' } };
  const settings = { id: 1, uid: 'prometheus', name: 'Prometheus', type: 'prometheus', access: 'proxy', url: '', jsonData: { timeInterval: '1s' }, isDefault: true,
    meta: { id: 'prometheus', name: 'Prometheus', type: 'datasource', metrics: true, info: { logos: { small: '', large: '' } } } };
  const said = (text, scoped, format) => {
    const from = scoped?.__sceneObject?.value.valueOf();
    return from ? sceneGraph.interpolate(from, text, scoped, format) : text;
  };
  setTemplateSrv({ replace: said, getVariables: () => [], getAdhocFilters: () => [], containsTemplate: (text) => /\$/.test(text ?? ''), updateTimeRange() {} });
  setBackendSrv(backend(words.get('prometheus')));
  setEchoSrv({ flush() {}, addBackend() {}, addEvent() {} });
  setAppEvents(new EventBusSrv());
  setPluginImportUtils({
    importPanelPlugin: async (id) => panels[id] ?? Promise.reject(new Error(`no kind of panel: ${id}`)),
    getPanelPluginFromCache: (id) => panels[id],
  });
  const source = new PrometheusDatasource(settings);
  source.meta = settings.meta;
  const known = (ref, scoped) => {
    const uid = said(ref?.uid ?? ref, scoped);
    if (uid !== settings.uid) {
      throw new Error(`no data source: ${uid}`);
    }
  };
  setDataSourceSrv({
    get: async (ref, scoped) => (known(ref, scoped), source),
    getInstanceSettings: (ref, scoped) => (known(ref, scoped), { ...settings, rawRef: { type: settings.type, uid: settings.uid } }),
    getList: ({ pluginId }) => (pluginId === settings.type ? [settings] : []),
  });
  setRunRequest((from, request, ask) => (ask ? ask(request) : from.query(request)).pipe(map(({ data, error, errors }) => ({
    state: error || errors?.length ? LoadingState.Error : LoadingState.Done, series: ask ? data : data.map(toDataFrame), errors, timeRange: request.range, request,
  }))));
}

function variable(said) {
  const { name, label, hide, regex } = said;
  const same = { name, label, hide, regex };
  if (said.type === 'datasource') {
    return new DataSourceVariable({ ...same, pluginId: said.query });
  }
  const { datasource, query, refresh, sort, multi: isMulti, includeAll, allValue, current } = said;
  return new QueryVariable({ ...same, datasource, query, refresh, sort, isMulti, includeAll, allValue, value: current.value, text: current.text });
}

function panel({ id, type, title, description, datasource, targets, options, fieldConfig, gridPos: { x, y, w, h } }) {
  const $data = new SceneQueryRunner({ datasource, queries: targets });
  return new SceneGridItem({ x, y, width: w, height: h, body: new VizPanel({ key: `panel-${id}`, pluginId: type, title, description, options, fieldConfig, $data }) });
}

function rows(all) {
  const children = [];
  let row = null;
  for (const one of all) {
    if (one.type === 'row') {
      row = new SceneGridRow({ title: one.title, isCollapsed: one.collapsed, y: one.gridPos.y, children: one.panels.map(panel) });
      children.push(row);
    } else if (row) {
      row.setState({ children: [...row.state.children, panel(one)] });
    } else {
      children.push(panel(one));
    }
  }
  return children;
}

async function shown() {
  await initPluginTranslations('grafana-scenes', []);
  services();
  const scene = new EmbeddedScene({
    $timeRange: new SceneTimeRange({ from: words.get('from') ?? dashboard.time.from, to: dashboard.time.to }),
    $variables: new SceneVariableSet({ variables: dashboard.templating.list.map(variable) }),
    controls: [new VariableValueSelectors({}), new SceneControlsSpacer(), new SceneTimePicker({}), new SceneRefreshPicker({ refresh: dashboard.refresh })],
    body: new SceneGridLayout({ children: rows(dashboard.panels), isDraggable: false, isResizable: false, isLazy: false }),
  });
  window.vireo.scene = scene;
  createRoot(document.getElementById('main')).render(
    <ThemeContext.Provider value={config.theme2}>
      <GlobalStyles />
      <MemoryRouter><scene.Component model={scene} /></MemoryRouter>
    </ThemeContext.Provider>
  );
}

shown();
