/**
 * Checks of saved configuration files: would the program that owns the file still read it?
 *
 * A check is as lenient as that program. What only draws a warning from it passes, unless lines are lost by it. Each takes
 * any bytes, never throws, and needs time in proportion to the size of the file.
 */
import { Fault } from '../../core/errors.ts'
import { checkCrontab } from './crontab.ts'
import { checkJson } from './json.ts'
import { checkPasswd } from './passwd.ts'
import { checkPem } from './pem.ts'
import { checkPbsSections, checkPveSections } from './sections.ts'
import { checkSshdConfig } from './sshd-config.ts'
import { checkSudoers } from './sudoers.ts'
import { checkSystemdUnit } from './systemd-unit.ts'
import { checkFstab, checkInterfaces } from './tables.ts'

/** Every validator of the catalogue but `config-db`, which needs SQLite. */
export type CheckKind =
    | 'pve-section-config'
    | 'pbs-section-config'
    | 'interfaces'
    | 'fstab'
    | 'sshd-config'
    | 'sudoers'
    | 'passwd'
    | 'crontab'
    | 'json'
    | 'pem'
    | 'systemd-unit'

/**
 * `path` is the absolute path on the host: which sections a file may have, or which fields a line, depends on it.
 * Undefined when the file is fine, else one sentence: "line 12: …", without a full stop.
 */
export type Check = (bytes: Uint8Array, path: string) => string | undefined

/** The same for a file that is fine, and a fault of `lineFault` for one that is not. */
export type Reader = (bytes: Uint8Array, path: string) => void

export const checks: Readonly<Record<CheckKind, Check>> = {
    'pve-section-config': answered(checkPveSections),
    'pbs-section-config': answered(checkPbsSections),
    interfaces: answered(checkInterfaces),
    fstab: answered(checkFstab),
    'sshd-config': answered(checkSshdConfig),
    sudoers: answered(checkSudoers),
    passwd: answered(checkPasswd),
    crontab: answered(checkCrontab),
    json: answered(checkJson),
    pem: answered(checkPem),
    'systemd-unit': answered(checkSystemdUnit),
}

function answered(read: Reader): Check {
    return (bytes, path) => {
        try {
            read(bytes, path)
            return undefined
        } catch (error) {
            if (error instanceof Fault && error.facts.line !== undefined)
                return `line ${error.facts.line}: ${error.facts.why}`
            // A mistake of ours must not end the verification of a whole archive.
            return `line 1: it could not be checked (${error instanceof Error ? error.message : String(error)})`
        }
    }
}
