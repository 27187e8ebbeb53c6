// SPDX-License-Identifier: BSD-3-Clause
// In place of @grafana/plugin-compat, which asks its host by names that only a later one has.
import { getDataSourceSrv } from '@grafana/runtime';

export const getDataSourceInstance = async (ref, scoped) => getDataSourceSrv().get(ref, scoped);
export const getDataSourceInstanceSettings = async (ref, scoped) => getDataSourceSrv().getInstanceSettings(ref, scoped);
export const getDataSourceInstanceList = async (wanted) => getDataSourceSrv().getList(wanted);
export const getDefaultDataSourceInstanceListItem = async (items) => items[0];
export const registerRuntimeDataSourceInstance = () => {};
export const useDataSourceInstance = () => ({});
export const useDefaultDataSourceInstanceListItem = () => ({});
