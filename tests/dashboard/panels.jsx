// SPDX-License-Identifier: BSD-3-Clause
// The kinds of panel that the dashboard has, drawn by Grafana's own components with its defaults for what the file leaves out.
import {
  displayNameOverrideProcessor, FieldColorModeId, FieldConfigProperty, FieldType, getDisplayValueAlignmentFactors, getFieldDisplayValues, identityOverrideProcessor,
  numberOverrideProcessor, PanelPlugin, standardEditorsRegistry, standardFieldConfigEditorRegistry, stringOverrideProcessor, thresholdsOverrideProcessor,
  unitOverrideProcessor, valueMappingsOverrideProcessor,
} from '@grafana/data';
import { config } from '@grafana/runtime';
import { BigValue, commonOptionsBuilder, TimeSeries, VizRepeater } from '@grafana/ui';

const none = () => null;

function property(id, process, defaultValue, path = id) {
  return { id, path, name: id, description: '', editor: none, override: none, process, defaultValue, shouldApply: () => true, settings: {} };
}

const thresholds = { mode: 'absolute', steps: [{ value: -Infinity, color: 'green' }, { value: 80, color: 'red' }] };

standardFieldConfigEditorRegistry.setInit(() => [
  property('displayName', displayNameOverrideProcessor),
  property('unit', unitOverrideProcessor),
  property('min', numberOverrideProcessor),
  property('max', numberOverrideProcessor),
  property('decimals', numberOverrideProcessor),
  property('noValue', stringOverrideProcessor),
  property('color', identityOverrideProcessor, { mode: FieldColorModeId.Thresholds }),
  property('thresholds', thresholdsOverrideProcessor, thresholds),
  property('mappings', valueMappingsOverrideProcessor, []),
]);
standardEditorsRegistry.setInit(() =>
  ['number', 'text', 'boolean', 'radio', 'select', 'unit', 'color', 'slider', 'multi-select', 'strings', 'field-name', 'stats-picker', 'timezone', 'dashboard-uid']
    .map((id) => ({ id, name: id, editor: none })));

function Series({ data, timeRange, timeZone, width, height, options, replaceVariables }) {
  const frames = data.series.filter((frame) => frame.length && frame.fields.some((field) => field.type === FieldType.number));
  if (!frames.length) {
    return <div className="no-data">No data</div>;
  }
  return (
    <TimeSeries frames={frames} structureRev={data.structureRev} timeRange={timeRange} timeZone={[timeZone]} width={width} height={height}
      legend={options.legend} options={options} replaceVariables={replaceVariables} />
  );
}

function custom(builder) {
  const values = { drawStyle: 'line', lineInterpolation: 'linear', lineWidth: 1, fillOpacity: 0, gradientMode: 'none', showPoints: 'auto', pointSize: 5, spanNulls: false,
    insertNulls: false };
  for (const [path, defaultValue] of Object.entries(values)) {
    builder.addCustomEditor({ id: path, path, name: path, defaultValue, editor: none, override: none, process: identityOverrideProcessor, shouldApply: () => true });
  }
  commonOptionsBuilder.addStackingConfig(builder, { mode: 'none', group: 'A' });
  commonOptionsBuilder.addAxisConfig(builder, { axisGridShow: true });
  commonOptionsBuilder.addHideFrom(builder);
}

const timeseries = new PanelPlugin(Series)
  .useFieldConfig({ standardOptions: { [FieldConfigProperty.Color]: { defaultValue: { mode: FieldColorModeId.PaletteClassic } } }, useCustomConfig: custom })
  .setPanelOptions((builder) => {
    commonOptionsBuilder.addTooltipOptions(builder);
    commonOptionsBuilder.addLegendOptions(builder);
  });

function Values({ data, timeRange, timeZone, width, height, options, fieldConfig, replaceVariables, renderCounter }) {
  const values = () => getFieldDisplayValues({ fieldConfig, reduceOptions: options.reduceOptions, replaceVariables, theme: config.theme2, data: data.series,
    sparkline: options.graphMode !== 'none', timeZone });
  const value = ({ value: one, alignmentFactors, width, height, count }) => (
    <BigValue value={one.display} count={count} alignmentFactors={alignmentFactors} width={width} height={height} theme={config.theme2} colorMode={options.colorMode}
      graphMode={options.graphMode} justifyMode={options.justifyMode} textMode={options.textMode}
      sparkline={one.sparkline && { ...one.sparkline, timeRange, highlightIndex: undefined }} />
  );
  return (
    <VizRepeater getValues={values} getAlignmentFactors={getDisplayValueAlignmentFactors} renderValue={value} width={width} height={height} source={data} itemSpacing={3}
      renderCounter={renderCounter} autoGrid orientation={options.orientation} />
  );
}

const stat = new PanelPlugin(Values).useFieldConfig().setPanelOptions((builder) => {
  const values = { 'reduceOptions.values': false, 'reduceOptions.calcs': ['lastNotNull'], 'reduceOptions.fields': '', orientation: 'auto', textMode: 'auto', colorMode: 'value',
    graphMode: 'area', justifyMode: 'auto' };
  for (const [path, defaultValue] of Object.entries(values)) {
    builder.addCustomEditor({ id: path, path, name: path, defaultValue, editor: none });
  }
});

export const panels = { timeseries, stat };
for (const [id, plugin] of Object.entries(panels)) {
  plugin.meta = { id, name: id, info: { version: '' } };
}
