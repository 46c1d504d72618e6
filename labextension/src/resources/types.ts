/**
 * What the server says of its resources, by the names that the views use.
 */
import type { components } from '../api/resources-schema';

type Schemas = components['schemas'];

/** What is used now. */
export type Sample = Schemas['Sample'];

/** One moment of the past. */
export type Point = Schemas['Point'];

/** What one kernel uses. */
export type KernelUsage = Schemas['KernelUsage'];

/** A kernel that has ended though nobody asked it to. */
export type Death = Schemas['Death'];
