/** Walking the host by the catalogue serves backup, diff and restore. */
export * from '../archive/collect.ts'
