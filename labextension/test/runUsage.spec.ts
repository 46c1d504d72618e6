import type { RunEvent } from '../src/runs/events';
import { RunUsage } from '../src/runs/resources';

const at = (second: number) => new Date(1_700_000_000_000 + 1000 * second).toISOString();

function used(second: number, memory_bytes: number, gpu_memory_bytes: number | null = null) {
  const rest = { index: 0, cpu_cores: 0.5, memory_bytes, gpu_memory_bytes };
  return { kind: 'usage', sequence: second, at: at(second), ...rest } as RunEvent;
}

const began = { kind: 'run_started', at: at(0) } as RunEvent;

it('weighs each value by the time that it covers', () => {
  const usage = new RunUsage();
  [began, used(1, 100), used(2, 100), used(10, 400)].forEach(event => usage.take(event));
  expect(usage.memory?.highest).toBe(400);
  expect(usage.memory?.average).toBe(340);
  expect(usage.memory?.points).toHaveLength(3);
  expect(usage.cpu?.average).toBe(0.5);
});

it('says nothing of GPUs where none were used, and begins anew with the run', () => {
  const usage = new RunUsage();
  expect(usage.memory).toBeNull();
  [began, used(1, 100, 0)].forEach(event => usage.take(event));
  expect(usage.gpuMemory).toBeNull();
  usage.take(used(2, 100, 7));
  expect(usage.gpuMemory?.highest).toBe(7);
  usage.take(began);
  expect(usage.memory).toBeNull();
});
