/** Opening an archive is a matter of the archive itself; backup and restore both do it. */
export * from '../archive/unlock.ts'
