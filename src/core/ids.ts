/** Ids that people type: short, unambiguous, sortable where order matters. */

/** Twelve hexadecimal digits name a backup. */
export function backupId(random: (bytes: number) => Uint8Array): string {
    return Buffer.from(random(6)).toString('hex')
}

/** A change is named by the second it began and four random digits: `20261120-023000-7f3a`. */
export function changeId(nowMs: number, random: (bytes: number) => Uint8Array): string {
    const stamp = new Date(nowMs).toISOString()
    const day = stamp.slice(0, 10).replaceAll('-', '')
    const time = stamp.slice(11, 19).replaceAll(':', '')
    return `${day}-${time}-${Buffer.from(random(2)).toString('hex')}`
}

/** The stamp in an archive's file name: `20261120T023000Z`. */
export function compactStamp(nowMs: number): string {
    return new Date(nowMs).toISOString().slice(0, 19).replaceAll('-', '').replaceAll(':', '') + 'Z'
}
