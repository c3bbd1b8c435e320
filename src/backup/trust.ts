/** Who signed an archive is asked by backup and restore alike. */
export * from '../archive/trust.ts'
