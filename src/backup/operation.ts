/** The shape of a worker's operation; features share it through the engine. */
export * from '../engine/operation.ts'
