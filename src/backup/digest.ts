/** The digest of an entry's content belongs to the archive; backup and restore both check it. */
export * from '../archive/digest.ts'
