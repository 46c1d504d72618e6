/**
 * The part of the control plane's OpenAPI document that the front end uses.
 */
export interface paths {
  '/snapshots': {
    post: {
      requestBody: { content: { 'application/json': { path: string } } };
      responses: { 200: { content: { 'application/json': components['schemas']['Snapshot'] } } };
    };
  };
  '/runs': {
    post: {
      requestBody: { content: { 'application/json': components['schemas']['RunRequest'] } };
      responses: { 201: { content: { 'application/json': components['schemas']['Run'] } } };
    };
  };
  '/runs/{run_id}': {
    get: {
      parameters: { path: { run_id: string } };
      responses: { 200: { content: { 'application/json': components['schemas']['Run'] } } };
    };
  };
}

export interface components {
  schemas: {
    Snapshot: {
      snapshot_id: string;
      root: string;
      notebook: string;
      size_bytes: number;
      file_count: number;
      warnings: string[];
    };
    RunRequest: {
      notebook: string;
      snapshot_id: string;
      trigger: 'manual';
    };
    Run: {
      run_id: string;
      state: 'queued' | 'starting' | 'running' | 'succeeded' | 'failed' | 'stopped' | 'lost';
      reason: string;
      notebook: string;
    };
  };
}
